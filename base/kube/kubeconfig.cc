#include "base/kube/kubeconfig.h"

#include <charconv>

#include "base/conf/yaml.h"
#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/kube/fields.h"

namespace base::kube {
namespace {

constexpr size_t kKubeconfigBytesMax = 1 << 20;
constexpr size_t kCredentialBytesMax = 256 << 10;

bool is_url_text(std::string_view s) {
  for (char c : s)
    if (uint8_t(c) <= 0x20 || uint8_t(c) >= 0x7f || c == '\\' || c == '"') return false;
  return true;
}

bool is_host(std::string_view s) {
  if (s.empty() || s.size() > 253) return false;
  if (IpAddr::parse(s)) return true;
  for (char c : s)
    if (!(std::isalnum(uint8_t(c)) || c == '-' || c == '.' || c == '_')) return false;
  return true;
}

std::optional<uint16_t> port_of(std::string_view s) {
  uint32_t n = 0;
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (ec != std::errc() || end != s.data() + s.size() || n < 1 || n > 65535) return std::nullopt;
  return uint16_t(n);
}

std::string trimmed(std::string s) {
  while (!s.empty() && std::isspace(uint8_t(s.back()))) s.pop_back();
  while (!s.empty() && std::isspace(uint8_t(s.front()))) s.erase(0, 1);
  return s;
}

class KubeconfigReader {
 public:
  KubeconfigReader(const Fields& root, const std::string& path) : root_(root), folder_(path.substr(0, path.rfind('/') + 1)) {}

  void read(ApiAccess& out) const {
    const std::string context = root_.required_str("current-context");
    std::string cluster, user;
    with_named("contexts", context, "context", [&](const Fields& c) {
      cluster = c.required_str("cluster");
      user = c.str("user");
    });
    with_named("clusters", cluster, "cluster", [&](const Fields& c) { read_cluster(c, out); });
    if (!user.empty()) with_named("users", user, "user", [&](const Fields& u) { read_user(u, out); });
  }

 private:
  template <class Read>
  void with_named(std::string_view list, const std::string& name, std::string_view inner, Read read) const {
    bool found = false;
    root_.each(list, [&](const Fields& entry) {
      if (found || entry.str("name") != name) return;
      found = true;
      const Fields in = entry.inside(inner);
      read(in);
    });
    if (!found) root_.wrong(list, fmt::format("none is named \"{}\"", name));
  }

  void read_cluster(const Fields& c, ApiAccess& out) const {
    if (c.has("proxy-url")) return c.wrong("proxy-url", "proxies are not supported; make the server reachable directly");
    auto url = parse_server_url(c.required_str("server"));
    if (!url) return c.wrong("server", url.error().what);
    out.server = *url;
    out.server_name = c.str("tls-server-name");
    out.skip_verify = c.boolean("insecure-skip-tls-verify", false);
    out.ca = pem(c, "certificate-authority");
    if (!out.skip_verify && out.server.tls && !out.ca.given())
      c.wrong("certificate-authority", "is missing; name the file of the CA that issued the server's certificate");
  }

  void read_user(const Fields& u, ApiAccess& out) const {
    for (const char* key : {"exec", "auth-provider"})
      if (u.has(key)) return u.wrong(key, "credential plugins are not run; use a token, a tokenFile or a client certificate");
    for (const char* key : {"username", "password"})
      if (u.has(key)) return u.wrong(key, "API servers take no passwords any more; use a token, a tokenFile or a client certificate");
    out.certificate = pem(u, "client-certificate");
    out.key = pem(u, "client-key");
    out.token = {u.str("token"), file(u.str("tokenFile"))};
    if (out.certificate.given() != out.key.given()) u.wrong(out.key.given() ? "client-certificate" : "client-key", "is missing: certificate and key go together");
  }

  // "<key>-data" is base64 and goes before the file, as with kubectl.
  Secret pem(const Fields& f, const std::string& key) const {
    const std::string data = f.str(key + "-data");
    if (data.empty()) return {"", file(f.str(key))};
    auto decoded = from_base64(data);
    if (!decoded || decoded->empty()) return f.wrong(key + "-data", "is not base64"), Secret{};
    return {std::string(as_text(*decoded)), ""};
  }

  std::string file(const std::string& name) const { return name.empty() || name[0] == '/' ? name : folder_ + name; }

  const Fields& root_;
  std::string folder_;
};

Result<std::string> read_secret(const Secret& s) {
  if (s.file.empty()) return s.text;
  auto text = read_file(s.file, kCredentialBytesMax);
  if (!text && !s.text.empty()) return s.text;
  return text;
}

}  // namespace

std::string ServerUrl::authority() const {
  const std::string h = host.find(':') == host.npos ? host : "[" + host + "]";
  return port == (tls ? 443 : 80) ? h : h + ":" + std::to_string(port);
}

std::string ServerUrl::str() const { return (tls ? "https://" : "http://") + authority() + path; }

Result<ServerUrl> parse_server_url(std::string_view s) {
  const auto bad = [&](std::string_view why) { return fail(Code::invalid, "\"{}\" {}; write https://<host>:<port>", s.substr(0, 200), why); };
  ServerUrl u;
  if (!is_url_text(s)) return fail(Code::invalid, "holds characters that no URL has; write https://<host>:<port>");
  std::string_view rest = s;
  const size_t scheme = s.find("://");
  if (scheme != s.npos) {
    if (s.substr(0, scheme) != "https" && s.substr(0, scheme) != "http") return bad("is neither https nor http");
    u.tls = s.substr(0, scheme) == "https";
    rest = s.substr(scheme + 3);
  } else {
    u.tls = false;  // as kubectl reads a bare host:port
  }
  u.port = u.tls ? 443 : 80;
  if (rest.find_first_of("?#@") != rest.npos) return bad("has more than a host, a port and a path");
  const size_t slash = rest.find('/');
  if (slash != rest.npos) {
    u.path = rest.substr(slash);
    rest = rest.substr(0, slash);
    while (u.path.ends_with('/')) u.path.pop_back();
  }
  const bool bracketed = rest.starts_with('[');
  const size_t end = bracketed ? rest.find(']') : rest.rfind(':');
  if (bracketed && end == rest.npos) return bad("has a bracket without its other one");
  std::string_view port = end == rest.npos ? std::string_view() : rest.substr(end + 1);
  u.host = bracketed ? rest.substr(1, end - 1) : rest.substr(0, end);
  if (bracketed && !port.empty() && port[0] != ':') return bad("has no port after the bracket");
  if (bracketed && !port.empty()) port.remove_prefix(1);
  if (!is_host(u.host)) return bad("names no host");
  if (port.empty()) return u;
  const auto number = port_of(port);
  if (!number) return bad("has no port between 1 and 65535");
  u.port = *number;
  return u;
}

Result<ApiAccess> parse_kubeconfig(std::string_view text, const std::string& path) {
  EM_TRY_ASSIGN(const conf::Value doc, conf::parse_yaml(text, path));
  if (doc.is_null()) return fail(Code::invalid, "{}: is empty", path);
  FieldErrors errors{path, "kubeconfig", {}};
  const Fields root(&doc, errors);
  ApiAccess out;
  KubeconfigReader(root, path).read(out);
  if (errors.first) return tl::unexpected(*errors.first);
  return out;
}

Result<ApiAccess> load_kubeconfig(const std::string& path) {
  EM_TRY_ASSIGN(const std::string text, read_file(path, kKubeconfigBytesMax));
  return parse_kubeconfig(text, path);
}

Result<ApiAccess> in_cluster_access(const std::string& host, const std::string& port, const std::string& dir) {
  if (host.empty() || port.empty())
    return fail(Code::not_found, "source.inCluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; set source.kubeconfig");
  const auto number = port_of(port);
  if (!number || !is_host(host)) return fail(Code::invalid, "source.inCluster: KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT makes no address");
  ApiAccess a;
  a.server = {true, host, *number, ""};
  a.ca.file = dir + "/ca.crt";
  a.token.file = dir + "/token";
  return a;
}

Result<ApiCredentials> load_credentials(const ApiAccess& a) {
  ApiCredentials c;
  if (a.server.tls) {
    if (!a.skip_verify) {
      EM_TRY_ASSIGN(c.ca_pem, read_secret(a.ca));
    }
    EM_TRY_ASSIGN(c.certificate_pem, read_secret(a.certificate));
    EM_TRY_ASSIGN(c.key_pem, read_secret(a.key));
  }
  EM_TRY_ASSIGN(c.token, read_secret(a.token));
  c.token = trimmed(std::move(c.token));
  for (char ch : c.token)
    if (uint8_t(ch) <= 0x20 || uint8_t(ch) >= 0x7f) return fail(Code::invalid, "{}: is not a bearer token", a.token.file.empty() ? "token" : a.token.file);
  return c;
}

}  // namespace base::kube
