#include "tunnel/node_files.h"

#include <sys/stat.h>

#include "base/core/file.h"
#include "base/net/x509.h"

namespace tunnel {
namespace {

constexpr size_t kPemBytesMax = 256 << 10;
constexpr size_t kPskBytesMin = 16, kPskBytesMax = 4096;

base::Result<Psk> read_psk(const std::string& path) {
  EM_TRY_ASSIGN(std::string text, base::read_file(path, kPskBytesMax));
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && (st.st_mode & 077))
    return base::fail(base::Code::denied, "{}: others may read this pre-shared key: chmod 0600 {}", path, path);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  if (text.size() < kPskBytesMin)
    return base::fail(base::Code::invalid, "{}: a pre-shared key has at least {} bytes, this has {}: head -c 32 /dev/urandom | base64 > {}", path,
                      kPskBytesMin, text.size(), path);
  auto b = base::as_bytes(text);
  base::ByteVec key(b.begin(), b.end());
  base::secure_zero(text.data(), text.size());
  return Psk{psk_id_of(key), std::move(key)};
}

base::Result<void> read_texts(const NodeFilePaths& p, NodeFiles& f) {
  EM_TRY_ASSIGN(f.key_pem, base::read_file(p.key, kPemBytesMax));
  EM_TRY_ASSIGN(f.ca_pem, base::read_file(p.ca, kPemBytesMax));
  EM_TRY_ASSIGN(f.ca_certs, base::certificates_from_pem(f.ca_pem, p.ca));
  EM_TRY_ASSIGN(auto chain, base::certificates_from_pem(f.certificate_pem, p.cert));
  f.leaf = base::sha256(chain[0]);
  return {};
}

}  // namespace

std::string stamp_of(const NodeFilePaths& p) {
  std::string out;
  for (const auto& path : {p.cert, p.key}) {
    struct stat s {};
    if (::stat(path.c_str(), &s) == 0) out += fmt::format("{} {} {} {};", s.st_ino, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  }
  return out;
}

base::Result<NodeFiles> read_renewed(const NodeFilePaths& p, const base::NodeIdentity& in_use, base::TrustClock& clock, std::chrono::seconds expiry_grace) {
  NodeFiles f;
  EM_TRY_ASSIGN(f.identity, base::check_node_files(p.cert, p.key, p.ca, clock.now(), expiry_grace));
  EM_TRY_ASSIGN(f.certificate_pem, base::read_file(p.cert, kPemBytesMax));
  EM_TRY(read_texts(p, f));
  const base::NodeIdentity& id = f.identity;
  if (id.name != in_use.name || id.trust_domain != in_use.trust_domain)
    return base::fail(base::Code::invalid, "{}: this certificate is for node {} of {}, this is {} of {}: issue one for this node", p.cert, id.name, id.trust_domain,
                      in_use.name, in_use.trust_domain);
  if (id.overlay_ips != in_use.overlay_ips || id.pod_cidrs != in_use.pod_cidrs || id.roles != in_use.roles)
    return base::fail(base::Code::invalid, "{}: this certificate gives {} other addresses or roles: restart this daemon to use it, or renew with edgemeshctl ca issue --renew",
                      p.cert, id.name);
  EM_TRY_ASSIGN(auto own, base::parse_certificate_pem(f.certificate_pem, p.cert));
  clock.own_certificate(own.not_before, own.not_after);
  return f;
}

base::Result<NodeFiles> read_node_files(const NodeFilePaths& p, base::TrustClock& clock, base::StateDisk& disk, std::chrono::seconds expiry_grace) {
  NodeFiles f;
  EM_TRY_ASSIGN(f.certificate_pem, base::read_file(p.cert, kPemBytesMax));
  EM_TRY_ASSIGN(auto own, base::parse_certificate_pem(f.certificate_pem, p.cert));
  clock.own_certificate(own.not_before, own.not_after);
  EM_TRY_ASSIGN(f.identity, base::check_node_files(p.cert, p.key, p.ca, clock.now(), expiry_grace));
  if (!p.node.empty() && f.identity.name != p.node)
    return base::fail(base::Code::invalid, "{}: this certificate is for node {}, the configuration names {}: set nodeName to {} or issue a certificate for {}",
                      p.cert, f.identity.name, p.node, f.identity.name, p.node);
  if (f.identity.overlay_ips.empty())
    return base::fail(base::Code::invalid, "{}: this certificate gives node {} no overlay address: issue it again with edgemeshctl ca issue", p.cert, f.identity.name);
  EM_TRY(read_texts(p, f));
  for (const auto& path : p.psks) {
    EM_TRY_ASSIGN(Psk k, read_psk(path));
    f.psks.push_back(std::move(k));
  }
  EM_TRY_ASSIGN(f.deny, DenyBook::open({p.deny, p.state_dir, f.ca_certs, f.identity.trust_domain, &disk}));
  if (f.deny.list().issued()) clock.signed_by_ca(*f.deny.list().issued());
  if (f.deny.list().is_denied(f.identity))
    return base::fail(base::Code::denied, "{}: node {} is on the deny list (number {}): issue a new certificate", p.cert, f.identity.name, f.deny.list().number());
  return f;
}

}  // namespace tunnel
