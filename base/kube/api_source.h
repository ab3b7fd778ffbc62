// ApiSource: objects from a Kubernetes API server, or from KubeEdge's MetaServer. One KindWatch (kind_watch.h) per kind.
//
// - EndpointSlices where the server has discovery.k8s.io, else Endpoints; never both (the server mirrors one into the other),
//   but for a MetaServer, whose slices may be missing or empty while its Endpoints are not: there both are followed, and a
//   service's slices go before its Endpoints as always.
// - DestinationRule and MeshNode are custom resources: their absence is fine, and they are looked for again every minute.
// - Pods only while they are wanted, and only those of the node named (a MetaServer has no others). Nothing waits for them.
// - An unreachable or failing server changes nothing: the objects stay as they were, problems() says what is wrong.
// - A MetaServer's empty list is not believed for 30 s where there were objects before, nor at the start for the kinds that no
//   cluster is without (Namespace, Node, Service, Endpoints): it answers so while it has no cloud.
#pragma once
#include <memory>
#include <string>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/kube/api_client.h"
#include "base/kube/source.h"

namespace base::kube {

inline constexpr uint16_t kMetaServerPort = 10550;  // a kubeconfig that leads here is a MetaServer's

std::unique_ptr<ObjectSource> make_api_source(Loop&, Rng&, Metrics&, std::unique_ptr<ApiClient>, bool meta_server, std::string node = {});

}  // namespace base::kube
