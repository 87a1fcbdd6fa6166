"""Which headers of kernel-abi/uapi mirror which of Linux, and what of those is left out, with its reason.

A family is switched on here: coverage_test.py and mutation_test.py go through this table.
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Family:
    name: str
    linux: tuple[str, ...]  # headers of Linux, as they are included; none: only mutated
    ours: tuple[str, ...]  # of kernel-abi/uapi, without .h; each with a test NAME_test.cc
    macros: dict[str, str] = dataclasses.field(default_factory=dict)  # pattern of a name -> why it is left out
    members: dict[str, str] = dataclasses.field(default_factory=dict)  # the same for "struct.path" and "struct"


OTHER_CPU = "of another processor"
NEWER_PADDING = "padding that has got names since Linux 6.1; as AT"
LEGACY = "of devices before virtio 1.0"
NO_ADMIN = "pepita's devices have no administration virtqueue"
NEWER_STRUCT = "as AT: Debian 12's header does not have all of it"
KERNEL_VHOST = "of /dev/vhost-*, which pepita does not use"
VIRTIO = ("balloon", "blk", "config", "console", "fs", "ids", "mmio", "net", "pci", "pmem", "ring", "vsock")
FAMILIES = (
    Family(
        name="io_uring",
        linux=("linux/io_uring.h",),
        ours=("io_uring", "io_uring_flags", "io_uring_register"),
        macros={
            r"IOSQE_\w*_BIT": "numbers of bits, asserted as the flags",
            r"IORING_(OP|REGISTER|RESTRICTION)_LAST|IORING_RESTRICTION_LAST": "counts the others, and grows",
        },
        members={
            r"io_uring_sqe\.__pad\d": "padding of an arm of a union",
            r"io_uring_cqe\.big_cqe": "flexible; IoUringCqe32",
            r"io_uring_buf_reg\.(pad|resv)|io_uring_sync_cancel_reg\.pad2?": NEWER_PADDING,
            r"io_[sc]qring_offsets\.resv2|io_uring_getevents_arg\.pad": NEWER_PADDING,
            r"io_uring_probe\.ops|io_uring_buf_ring.*": "what follows, not counted",
            r"io_uring_sqe\.optname": "the upper half of an address, which has no name here",
            r"io_timespec": "of no request in this header",
            r"io_uring_notification_\w*": "of a draft of SEND_ZC; Linux 6.1 itself has no use for them",
        },
    ),
    Family(
        name="kvm",
        linux=("linux/kvm.h", "asm/kvm.h"),
        ours=("kvm", "kvm_capability", "kvm_irq", "kvm_memory", "kvm_nested", "kvm_run", "kvm_vcpu", "kvm_vm"),
        macros={
            r"__KVM_\w*": "says only which parts the header has",
            r"KVMIO": "the type of requests; part of each number that is asserted",
            r"KVM_(CAP_)?(S390|PPC|ARM|MIPS|RISCV|LOONGARCH|SPAPR)\w*": OTHER_CPU,
            r"KVM_(DEV|VM|REG|EXIT|SYSTEM_EVENT|INTERNAL)(_TYPE)?_(S390|PPC|ARM|MIPS|RISCV|LOONGARCH|IA64)\w*": OTHER_CPU,
            r"KVM_REG_ARM64|KVM_PV_\w*": OTHER_CPU,
            r"KVM_CAP_IRQ_(MPIC|XICS)|KVM_CAP_COUNTER_OFFSET": OTHER_CPU,
            r"KVM_DEV_TYPE_(FSL_MPIC_20|FSL_MPIC_42|XICS|XIVE|FLIC)|KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE": OTHER_CPU,
            r"KVM_(CREATE_SPAPR_TCE\w*|ALLOCATE_RMA|DIRTY_TLB|MMU_FSL_\w*)": OTHER_CPU,
            r"KVM_DEV_TYPE_MAX": "counts the others",
            r"KVM_TRC_\w*|KVM_TRACE_\w*": "of a tracer that Linux 2.6.31 took out",
            r"KVM_(DE)?ASSIGN_\w*|KVM_DEV_(IRQ|ASSIGN)_\w*|KVM_MAX_MSIX_PER_DEV": "assigned devices went in Linux 4.12; VFIO is there",
            r"KVM_SET_MEMORY_(REGION|ALIAS)|KVM_DEBUG_GUEST": "Linux refuses them; SET_USER_MEMORY_REGION and SET_GUEST_DEBUG came after",
            r"KVM_SEV_\w*|KVM_TDX_\w*|KVM_X86_(SEV_VMSA_FEATURES|SNP_POLICY_BITS|SEV_SNP_REQ_CERTS)": "pepita has no encrypted guests",
            r"KVM_XEN_\w*": "pepita has no guests of Xen; the requests and exits are there",
            r"KVM_HYPERV_\w*": "pepita has no guests of Hyper-V; the requests and exits are there",
            r"KVM_X86_DISABLE_VALID_EXITS": "a mask that grows from version to version",
            r"KVM_COALESCED_MMIO_MAX": "needs PAGE_SIZE, which the header does not have",
            r"kvm_ioeventfd_flag_nr_\w*": "numbers of bits, asserted as the flags",
        },
        members={
            r"kvm_(s390|ppc|arm|riscv|mips|loongarch|spapr|rtas|vfio_spapr|create_spapr)\w*": OTHER_CPU,
            r"kvm_(allocate_rma|get_htab_\w*|config_tlb|dirty_tlb|pv_cmd)": OTHER_CPU,
            r"kvm_run\.(s390_\w*|dcr|osi|papr_hcall|epr|arm_\w*|riscv_\w*|iocsr_io)(\..*)?": OTHER_CPU,
            r"kvm_run\.(tdx|snp_req_certs)(\..*)?|kvm_exit_snp_req_certs": "pepita has no encrypted guests",
            r"kvm_(sev|tdx)_\w*": "pepita has no encrypted guests",
            r"kvm_xen_(hvm|vcpu)_\w*": "pepita has no guests of Xen; the requests and exits are there",
            r"kvm_hyperv_eventfd": "pepita has no guests of Hyper-V; the requests and exits are there",
            r"kvm_memory_(region|alias)|kvm_debug_guest|kvm_breakpoint": "of requests that Linux refuses",
            r"kvm_assigned_\w*": "assigned devices went in Linux 4.12",
            r"kvm_trace_rec|kvm_user_trace_setup": "of a tracer that Linux 2.6.31 took out",
            r"kvm_run\.hypercall\.pad": "half of the flags since Linux 6.5",
            r"kvm_nested_state\.data": "what follows, not counted",
            r"kvm_ioapic_state\.redirtbl\..*": "parts of a register that is asserted as a whole",
            r"kvm_svm_nested_state_hdr\.gpat|kvm_nested_state\.hdr\.svm": "as AT, which has the numbers of Linux 7.3",
        },
    ),
    Family(
        name="virtio",
        linux=tuple(f"linux/virtio_{name}.h" for name in VIRTIO),
        ours=tuple(f"virtio_{name}" for name in VIRTIO),
        macros={
            r"VIRTIO_TRANSPORT_F_END": "grows with the features; ours is asserted by its number",
            r"VIRTIO_BALLOON_S_(NR|NAMES\w*)": "counts and names the others",
            r"VIRTIO_PCI_(HOST|GUEST)_FEATURES|VIRTIO_PCI_QUEUE_\w+|VIRTIO_PCI_(STATUS|ISR|ABI_VERSION|VRING_ALIGN)": LEGACY,
            r"VIRTIO_MSI_(CONFIG|QUEUE)_VECTOR": LEGACY,
            r"VIRTIO_PCI_(CAP_(VNDR|NEXT|LEN|CFG_TYPE|BAR|OFFSET|LENGTH)|NOTIFY_CAP_MULT|COMMON_\w+)":
                "where members are, which are asserted as members",
            r"VIRTIO_(ADMIN|DEV_PART|RESOURCE_OBJ)\w*|MAX_CAP_ID": NO_ADMIN,
        },
        members={
            r"vring": "pointers of a driver, no layout",
            r"vring_(avail|used)": "asserted by kVirtqFlagsOffset and its like",
            r"virtio_scsi_inhdr|virtio_net_rss_config": LEGACY,
            r"virtio_net_ctrl_hdr\.class": "the name is a keyword; asserted as named_class",
            r"virtio_net_hdr_v1_hash\.hash_value(_lo|_hi)?": "one in Linux 6.1, halves later",
            r"virtio_net_ctrl_queue_stats.*": "as AT: VirtioNetQueueStats is one of its array",
            r"virtio_(net_(stats|ctrl_coal(?!_[tr]x)|rss_config_|hdr_v1_hash_tunnel)|blk_zone)\w*": NEWER_STRUCT,
            r"virtio_blk_config\.geometry": "asserted by its members",
            r"virtio_blk_config\.(zoned|max_secure_erase_\w+|secure_erase_\w+)(\..*)?": "as AT, in VirtioBlkMoreConfig",
            r"virtio_pci_vndr_data|virtio_pci_modern_common_cfg": NEWER_STRUCT,
            r"virtio_(admin|dev_part|resource_obj)\w*": NO_ADMIN,
        },
    ),
    Family(
        name="ublk",
        linux=("linux/ublk_cmd.h",),
        ours=("ublk",),
        macros={
            r"UBLK_CMD_\w+|UBLK_IO_(FETCH_REQ|COMMIT_AND_FETCH_REQ|NEED_GET_DATA)":
                "the number in a command; the whole of it is asserted by its name with _U_",
        },
        members={
            r"ublksrv_ctrl_cmd\.(data|dev_path_len|pad|reserved)": NEWER_STRUCT,
            r"ublksrv_ctrl_dev_info\.(pad0|reserved0|io_desc_size|owner_uid|owner_gid)": NEWER_STRUCT,
            r"ublk_(param_(devt|zoned|dma_align|segment|integrity)|shmem_buf_reg|auto_buf_reg|elem_header|batch_io)":
                NEWER_STRUCT,
            r"ublk_params\.(devt|zoned|dma|seg|integrity)": NEWER_STRUCT,
            r"ublksrv_io_desc\.nr_zones|ublksrv_io_cmd\.zone_append_lba": "another name, of a union of two equals",
        },
    ),
    Family(name="vm_sockets", linux=("linux/vm_sockets.h",), ours=("vm_sockets",)),
    # Of the protocol there is no header: QEMU's document, and each number a second time.
    Family(
        name="vhost_user",
        linux=("linux/vhost_types.h",),
        ours=("vhost_user",),
        macros={
            r"VHOST_IOTLB_MSG(_V2)?|VHOST_NET_F_VIRTIO_NET_HDR|VHOST_BACKEND_F_\w+|VHOST_PAGE_SIZE": KERNEL_VHOST,
            r"VHOST_SCSI_ABI_VERSION": KERNEL_VHOST,
        },
        members={
            r"vhost_(vring_file|worker_state|vring_worker|msg|msg_v2|features_array|scsi_target)": KERNEL_VHOST,
            r"vhost_vdpa_\w+": KERNEL_VHOST,
            r"vhost_memory_region\.flags_padding": "is the offset in the file in vhost-user; as AT",
        },
    ),
    # Linux has no header of it for programs: BTF, and each number a second time.
    Family(name="blk_mq", linux=(), ours=("blk_mq",)),
)
