#include "kernel-abi/uapi/virtio_console.h"

#include <cstddef>

#include "kernel-abi/uapi/virtio_config.h"
#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioConsoleFSize == virtio_feature(VIRTIO_CONSOLE_F_SIZE));
static_assert(kVirtioConsoleFMultiport == virtio_feature(VIRTIO_CONSOLE_F_MULTIPORT));
static_assert(kVirtioConsoleFEmergWrite == virtio_feature(VIRTIO_CONSOLE_F_EMERG_WRITE));

SAME_SIZE(VirtioConsoleConfig, virtio_console_config);
SAME_PLACE(VirtioConsoleConfig, cols, virtio_console_config, cols);
SAME_PLACE(VirtioConsoleConfig, rows, virtio_console_config, rows);
SAME_PLACE(VirtioConsoleConfig, max_nr_ports, virtio_console_config, max_nr_ports);
SAME_PLACE(VirtioConsoleConfig, emerg_wr, virtio_console_config, emerg_wr);

SAME_SIZE(VirtioConsoleControl, virtio_console_control);
SAME_PLACE(VirtioConsoleControl, id, virtio_console_control, id);
SAME_PLACE(VirtioConsoleControl, event, virtio_console_control, event);
SAME_PLACE(VirtioConsoleControl, value, virtio_console_control, value);
static_assert(kVirtioConsoleBadId == VIRTIO_CONSOLE_BAD_ID);
static_assert(kVirtioConsoleDeviceReady == VIRTIO_CONSOLE_DEVICE_READY);
static_assert(kVirtioConsolePortAdd == VIRTIO_CONSOLE_PORT_ADD);
static_assert(kVirtioConsolePortRemove == VIRTIO_CONSOLE_PORT_REMOVE);
static_assert(kVirtioConsolePortReady == VIRTIO_CONSOLE_PORT_READY);
static_assert(kVirtioConsoleConsolePort == VIRTIO_CONSOLE_CONSOLE_PORT);
static_assert(kVirtioConsoleResize == VIRTIO_CONSOLE_RESIZE);
static_assert(kVirtioConsolePortOpen == VIRTIO_CONSOLE_PORT_OPEN);
static_assert(kVirtioConsolePortName == VIRTIO_CONSOLE_PORT_NAME);

}  // namespace
}  // namespace pepita::abi
