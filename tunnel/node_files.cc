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

}  // namespace

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
  EM_TRY_ASSIGN(f.key_pem, base::read_file(p.key, kPemBytesMax));
  EM_TRY_ASSIGN(f.ca_pem, base::read_file(p.ca, kPemBytesMax));
  EM_TRY_ASSIGN(f.ca_certs, base::certificates_from_pem(f.ca_pem, p.ca));
  EM_TRY_ASSIGN(auto chain, base::certificates_from_pem(f.certificate_pem, p.cert));
  f.leaf = base::sha256(chain[0]);
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
