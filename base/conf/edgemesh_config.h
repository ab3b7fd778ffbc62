// Configuration files written for KubeEdge EdgeMesh (EdgeMeshAgent and EdgeMeshGateway, v1alpha1), taken as they are: what has
// a counterpart here is mapped onto DaemonConfig, everything else gets a line that says why it has no effect
// (DaemonConfig::notes). docs/reference/edgemesh-files.md has the table. Only what would run wrongly is an error.
#pragma once
#include <string>
#include <string_view>

#include "base/conf/daemon_config.h"
#include "base/conf/value.h"

namespace base::conf {

enum class EdgeMeshKind { agent, gateway };

// What EdgeMesh's programs learn from their environment.
struct EdgeMeshEnvironment {
  std::string node_name;   // NODE_NAME
  std::string name_space;  // NAMESPACE
  bool in_cluster = false;  // KUBERNETES_PORT is set: DNS is off unless the file says otherwise, as there
};
EdgeMeshEnvironment edgemesh_environment();  // of this process

// By apiVersion and kind, else by the top-level keys that only these files have.
bool is_edgemesh_config(const Value&);
// Errors: "<file>:<line>:<column>: <path>: <what>". Node name and admin socket are left for the caller to fill in.
Result<DaemonConfig> map_edgemesh_config(const Value&, std::string_view file, const EdgeMeshEnvironment&);

// Files of that form with every key that has an effect here (--defaultconfig), or those one has to think about (--minconfig).
std::string print_edgemesh_config(EdgeMeshKind, bool minimal);

}  // namespace base::conf
