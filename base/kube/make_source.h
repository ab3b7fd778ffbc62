// The source the configuration asks for.
#pragma once
#include <memory>
#include <string>

#include "base/conf/daemon_config.h"
#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/core/trust_clock.h"
#include "base/kube/source.h"
#include "base/loop/loop.h"

namespace base::kube {

// node: whose pods are followed where they are wanted. socket_mark: of the connections to an API server, 0 for none. Its certificate is held against the clock, which learns the time from it.
// What is wrong with its credentials is told to the sink.
std::unique_ptr<ObjectSource> make_source(Loop&, Rng&, Metrics&, const conf::SourceConfig&, const std::string& node, uint32_t socket_mark, TrustClock&);
std::string describe(const conf::SourceConfig&);  // for a log line: the directory, the kubeconfig, ...

}  // namespace base::kube
