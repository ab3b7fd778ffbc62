// Where a Kubernetes API server is, how we know it and how it knows us: read from a kubeconfig file, from a pod's service
// account, or said outright (KubeEdge's MetaServer). Names of files only; load_credentials() reads those, as often as wanted,
// because tokens and certificates are renewed in place.
#pragma once
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/core/time.h"

namespace base::kube {

struct ServerUrl {
  bool tls = true;
  std::string host;  // a name or an address, without brackets
  uint16_t port = 443;
  std::string path;  // in front of every target: "" or "/prefix"
  std::string authority() const;  // for the Host field: "[::1]:6443"
  std::string str() const;        // "https://10.0.0.1:6443"
};
Result<ServerUrl> parse_server_url(std::string_view);

struct Secret {  // a text that stands in the config, or in a file; the file goes first when both are given
  std::string text, file;
  bool given() const { return !text.empty() || !file.empty(); }
};

struct ApiAccess {
  ServerUrl server;
  std::string server_name;  // to be in the server's certificate; "": the host
  bool skip_verify = false;
  Secret ca, certificate, key, token;
};

// Contexts, clusters and users are looked up as kubectl does. What we do not do (credential plugins, passwords, proxies) is an
// error that says so. Relative file names are relative to the kubeconfig's folder.
Result<ApiAccess> parse_kubeconfig(std::string_view text, const std::string& path);
Result<ApiAccess> load_kubeconfig(const std::string& path);
// As in a pod: host and port are KUBERNETES_SERVICE_HOST and _PORT, the folder is the mounted service account.
inline constexpr const char* kServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount";
Result<ApiAccess> in_cluster_access(const std::string& host, const std::string& port, const std::string& dir = kServiceAccountDir);

struct ApiCredentials {
  std::string ca_pem, certificate_pem, key_pem, token;
  bool operator==(const ApiCredentials&) const = default;
};
Result<ApiCredentials> load_credentials(const ApiAccess&);

}  // namespace base::kube
