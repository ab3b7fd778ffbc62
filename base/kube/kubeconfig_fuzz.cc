// Any bytes as a kubeconfig: read or refused in one line that names the file.
#include "base/kube/kubeconfig.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto a = base::kube::parse_kubeconfig(text, "/f/kubeconfig");
  if (!a) {
    if (a.error().what.find("/f/kubeconfig") != 0 || a.error().what.find('\n') != std::string::npos) __builtin_trap();
    return 0;
  }
  auto again = base::kube::parse_server_url(a->server.str());
  if (!again || again->str() != a->server.str()) __builtin_trap();
  return 0;
}
