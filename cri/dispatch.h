#pragma once

#include "cri/grpc_server.h"
#include "cri/image_service.h"
#include "cri/runtime_service.h"

namespace pepita::cri {

/// Who answers CRI's calls.
struct Services {
    RuntimeService& runtime;
    ImageService& images;
};

/// Has one of them answer. What is no method of CRI's is Unsupported, by its name.
void dispatch(const Services& services, GrpcCall call);

}  // namespace pepita::cri
