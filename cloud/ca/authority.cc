#include "cloud/ca/authority.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/core/file.h"
#include "base/core/unique_fd.h"
#include "cloud/ca/address_plan.h"
#include "cloud/ca/cert_builder.h"

namespace cloud {
namespace {

using base::Code;
using base::UniqueFd;
using base::WallTime;

constexpr int64_t kDay = 24 * 3600;
constexpr int kCaYears = 10;
constexpr int kLeafDaysMax = 398;
constexpr int64_t kStartEarly = 300;  // clocks of nodes run a little behind
constexpr size_t kPemBytesMax = 64 << 10;

WallTime plus(WallTime t, int64_t seconds) { return {t.unix_seconds + seconds}; }

base::Result<void> make_dir(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return base::fail_errno(errno, dir);
}

base::Result<UniqueFd> lock_dir(const std::string& dir) {
  UniqueFd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return base::fail(Code::not_found, "{}: {}; make a CA there with: edgemeshctl ca init", dir, std::generic_category().message(errno));
  if (::flock(fd.get(), LOCK_EX) != 0) return base::fail_errno(errno, dir);
  return fd;
}

struct Signer {
  CertPtr cert;
  KeyPtr key;
  Issuer issuer() const { return {cert.get(), key.get()}; }
};

base::Result<Signer> load_signer(const std::string& crt, const std::string& key) {
  EM_TRY_ASSIGN(std::string cert_pem, base::read_file(crt, kPemBytesMax));
  EM_TRY_ASSIGN(auto ders, base::certificates_from_pem(cert_pem, crt));
  EM_TRY_ASSIGN(std::string key_pem, base::read_file(key, kPemBytesMax));
  Signer s{base::x509_from_der(ders[0]), base::private_key_from_pem(key_pem)};
  base::secure_zero(key_pem.data(), key_pem.size());
  if (!s.key) return base::fail(Code::invalid, "{}: not a PEM private key; restore it from a backup", key);
  return s;
}

base::Result<void> save_pair(X509* cert, EVP_PKEY* key, const std::string& stem) {
  EM_TRY_ASSIGN(std::string key_pem, pem_of(key));
  EM_TRY(base::write_file_atomic(stem + ".key", key_pem, 0600));
  base::secure_zero(key_pem.data(), key_pem.size());
  return base::write_file_atomic(stem + ".crt", pem_of(cert), 0644);
}

base::Result<void> make_intermediate(const Signer& root, const std::string& trust_domain, const char* unit, const std::string& stem, Validity v,
                                     base::Rng& rng) {
  EM_TRY_ASSIGN(auto key, new_p256_key());
  EM_TRY_ASSIGN(auto cert, build_intermediate(key.get(), root.issuer(), trust_domain, unit, v, rng));
  return save_pair(cert.get(), key.get(), stem);
}

base::Result<void> check_request(const IssueRequest& r) {
  if (!base::is_valid_node_name(r.node))
    return base::fail(Code::invalid, "node name \"{}\" is not a DNS name (lower case letters, digits, '-', '.')", r.node);
  if (r.days < 1 || r.days > kLeafDaysMax) return base::fail(Code::invalid, "validity of {} days is out of range; use 1 to {}", r.days, kLeafDaysMax);
  for (auto& role : r.roles)
    if (role != base::kRelayRole) return base::fail(Code::invalid, "unknown role \"{}\"; the only role is \"{}\"", role, base::kRelayRole);
  if (r.overlay_ips.size() > base::kOverlayIpsPerNodeMax || r.pod_cidrs.size() > base::kPodCidrsPerNodeMax)
    return base::fail(Code::limit, "a node has at most {} overlay addresses and {} pod ranges", base::kOverlayIpsPerNodeMax, base::kPodCidrsPerNodeMax);
  return {};
}

base::Result<void> check_addresses(const NodeRecords& all, const std::string& node, const NodeRecord& r) {
  for (auto& ip : r.overlay_ips) {
    EM_TRY(check_overlay_address(ip, all.overlay4, all.overlay6));
    std::string holder = all.holder_of(ip);
    if (!holder.empty() && holder != node)
      return base::fail(Code::exists, "overlay address {} belongs to node {}; choose another or leave it out", ip.str(), holder);
  }
  for (auto& c : r.pod_cidrs)
    if (c.overlaps(all.overlay4) || c.overlaps(all.overlay6))
      return base::fail(Code::invalid, "pod range {} overlaps the overlay range; a node's pods need a range outside {} and {}", c.str(),
                        all.overlay4.str(), all.overlay6.str());
  return {};
}

base::Result<std::vector<base::IpAddr>> choose_addresses(const NodeRecords& all, const std::string& node) {
  auto taken = [&](const base::IpAddr& a) { return !all.holder_of(a).empty(); };
  EM_TRY_ASSIGN(auto v4, pick_overlay4(all.overlay4, node, taken));
  EM_TRY_ASSIGN(auto v6, pick_overlay6(all.overlay6, node, taken));
  return std::vector{v4, v6};
}

// The record as it will be after this request.
base::Result<NodeRecord> next_record(const NodeRecords& all, const IssueRequest& req) {
  auto had = all.nodes.find(req.node);
  if (had != all.nodes.end() && !req.renew)
    return base::fail(Code::exists, "node {} has a certificate already; use --renew to replace it, or another name", req.node);
  if (had == all.nodes.end() && req.renew)
    return base::fail(Code::not_found, "node {} has no certificate to renew; leave out --renew", req.node);
  NodeRecord r = had == all.nodes.end() ? NodeRecord{} : had->second;
  if (!req.overlay_ips.empty()) r.overlay_ips = req.overlay_ips;
  if (!req.pod_cidrs.empty()) r.pod_cidrs = req.pod_cidrs;
  if (!req.roles.empty()) r.roles = req.roles;
  if (r.overlay_ips.empty()) {
    EM_TRY_ASSIGN(r.overlay_ips, choose_addresses(all, req.node));
  }
  EM_TRY(check_addresses(all, req.node, r));
  return r;
}

std::vector<std::string> warnings_for(const NodeRecords& all, const std::string& node, const NodeRecord& r) {
  std::vector<std::string> out;
  for (auto& c : r.pod_cidrs)
    if (auto other = all.overlapping(c, node); !other.empty())
      out.push_back(fmt::format("pod range {} overlaps one of node {}: neither is routed natively; services still work", c.str(), other));
  return out;
}

}  // namespace

base::Result<void> CertificateAuthority::init(const InitRequest& req, WallTime now) {
  if (!base::is_valid_trust_domain(req.trust_domain))
    return base::fail(Code::invalid, "trust domain \"{}\" may hold only lower case letters, digits, '.', '-', '_' (e.g. mesh.example)", req.trust_domain);
  if (req.overlay4 && (!req.overlay4->ip.is_v4() || req.overlay4->len > 24))
    return base::fail(Code::invalid, "overlay range {} is not an IPv4 range of /24 or larger", req.overlay4->str());
  EM_TRY(make_dir(dir_));
  EM_TRY_ASSIGN(UniqueFd lock, lock_dir(dir_));
  for (const char* f : {"ca.key", "ca.crt", "nodes.json"})
    if (::access(at(f).c_str(), F_OK) == 0)
      return base::fail(Code::exists, "{}: there is a CA already; use another folder (its certificates would all become foreign)", at(f));
  Validity v{plus(now, -kStartEarly), plus(now, kCaYears * 365 * kDay)};
  Signer root;
  EM_TRY_ASSIGN(root.key, new_p256_key());
  EM_TRY_ASSIGN(root.cert, build_root(root.key.get(), req.trust_domain, v, rng_));
  EM_TRY(make_intermediate(root, req.trust_domain, base::kNodeCaUnit, at("node-ca"), v, rng_));
  EM_TRY(make_intermediate(root, req.trust_domain, base::kApiCaUnit, at("api-ca"), v, rng_));
  NodeRecords records{req.trust_domain, req.overlay4.value_or(default_overlay4()), overlay6_of(req.trust_domain), {}};
  // The root's certificate comes last: its presence means a whole CA.
  EM_TRY_ASSIGN(std::string key_pem, pem_of(root.key.get()));
  EM_TRY(base::write_file_atomic(at("ca.key"), key_pem, 0600));
  base::secure_zero(key_pem.data(), key_pem.size());
  EM_TRY(records.save(at("nodes.json")));
  return base::write_file_atomic(at("ca.crt"), pem_of(root.cert.get()), 0644);
}

base::Result<Issued> CertificateAuthority::issue(const IssueRequest& req, const std::string& out_dir, WallTime now) {
  EM_TRY(check_request(req));
  EM_TRY_ASSIGN(UniqueFd lock, lock_dir(dir_));
  EM_TRY_ASSIGN(NodeRecords records, load_records());
  EM_TRY_ASSIGN(base::DenyList denied, load_denied(records));
  if (denied.is_name_denied(req.node))
    return base::fail(Code::denied, "node {} is on the deny list (number {}); choose another name", req.node, denied.number());
  EM_TRY_ASSIGN(NodeRecord record, next_record(records, req));
  EM_TRY_ASSIGN(Signer signer, load_signer(at("node-ca.crt"), at("node-ca.key")));
  EM_TRY_ASSIGN(std::string root_pem, base::read_file(at("ca.crt"), kPemBytesMax));
  EM_TRY(make_dir(out_dir));

  EM_TRY_ASSIGN(auto key, new_p256_key());
  LeafSpec spec{records.trust_domain, req.node, record.overlay_ips, record.pod_cidrs, record.roles};
  Validity v{plus(now, -kStartEarly), plus(now, int64_t(req.days) * kDay)};
  EM_TRY_ASSIGN(auto cert, build_node_leaf(key.get(), signer.issuer(), spec, v, rng_));
  EM_TRY_ASSIGN(auto identity, base::parse_node_identity(base::der_of(cert.get()), records.trust_domain));
  Issued out{identity, warnings_for(records, req.node, record)};

  record.keys.push_back(base::to_hex(identity.spki_sha256));
  record.not_after = identity.not_after.unix_seconds;
  records.nodes[req.node] = std::move(record);
  EM_TRY(records.save(at("nodes.json")));  // before anything leaves: a lost certificate is renewed, a doubled address is not mended
  EM_TRY_ASSIGN(std::string key_pem, pem_of(key.get()));
  EM_TRY(base::write_file_atomic(out_dir + "/node.key", key_pem, 0600));
  base::secure_zero(key_pem.data(), key_pem.size());
  EM_TRY(base::write_file_atomic(out_dir + "/ca.crt", root_pem, 0644));
  EM_TRY(base::write_file_atomic(out_dir + "/node.crt", pem_of(cert.get()) + pem_of(signer.cert.get()), 0644));
  return out;
}

base::Result<Denied> CertificateAuthority::deny_name(const std::string& node, base::WallTime now) {
  EM_TRY_ASSIGN(UniqueFd lock, lock_dir(dir_));
  EM_TRY_ASSIGN(NodeRecords records, load_records());
  auto it = records.nodes.find(node);
  if (it == records.nodes.end())
    return base::fail(Code::not_found, "node {} has no certificate from this CA; check the name, or give its certificate file", node);
  std::set<base::Sha256> keys;
  for (auto& hex : it->second.keys) {
    auto raw = base::from_hex(hex);
    if (!raw || raw->size() != 32) return base::fail(Code::invalid, "{}: key of node {} is not a SHA-256; restore it from a backup", at("nodes.json"), node);
    base::Sha256 h;
    std::copy(raw->begin(), raw->end(), h.begin());
    keys.insert(h);
  }
  return publish(records, std::move(keys), {node}, fmt::format("node {}", node), now);
}

base::Result<Denied> CertificateAuthority::deny_certificate(const std::string& cert_path, base::WallTime now) {
  EM_TRY_ASSIGN(UniqueFd lock, lock_dir(dir_));
  EM_TRY_ASSIGN(NodeRecords records, load_records());
  EM_TRY_ASSIGN(std::string pem, base::read_file(cert_path, kPemBytesMax));
  EM_TRY_ASSIGN(auto chain, base::certificates_from_pem(pem, cert_path));
  auto id = base::parse_node_identity(chain[0], records.trust_domain);
  if (!id) return base::fail_in(cert_path, id.error());
  return publish(records, {id->spki_sha256}, {}, fmt::format("key {} of node {}", base::to_hex(id->spki_sha256).substr(0, 16), id->name), now);
}

base::Result<NodeRecords> CertificateAuthority::load_records() const {
  auto r = NodeRecords::load(at("nodes.json"));
  if (!r && r.error().code == Code::not_found) return base::fail(Code::not_found, "{}: no CA in this folder; make one with: edgemeshctl ca init", dir_);
  return r;
}

base::Result<base::DenyList> CertificateAuthority::load_denied(const NodeRecords& records) const {
  EM_TRY_ASSIGN(std::string pem, base::read_file(at("ca.crt"), kPemBytesMax));
  EM_TRY_ASSIGN(auto roots, base::certificates_from_pem(pem, at("ca.crt")));
  return base::DenyList::load(at("deny.json"), roots, records.trust_domain);
}

base::Result<Denied> CertificateAuthority::publish(const NodeRecords& records, std::set<base::Sha256> keys, std::set<std::string> names,
                                                   std::string what, base::WallTime now) {
  EM_TRY_ASSIGN(base::DenyList old, load_denied(records));
  keys.insert(old.keys().begin(), old.keys().end());
  names.insert(old.names().begin(), old.names().end());
  std::vector<std::string> hex;
  for (auto& k : keys) hex.push_back(base::to_hex(k));
  nlohmann::ordered_json body = {{"version", 1}, {"trustDomain", records.trust_domain}, {"number", old.number() + 1}, {"issued", now.unix_seconds}, {"keys", hex}, {"names", names}};
  std::string text = body.dump();
  EM_TRY_ASSIGN(Signer root, load_signer(at("ca.crt"), at("ca.key")));
  EM_TRY_ASSIGN(auto sig, sign_sha256(root.key.get(), std::string(base::kDenyListContext) + text));
  nlohmann::ordered_json envelope = {{"body", text}, {"signature", base::to_base64(sig)}};
  EM_TRY(base::write_file_atomic(at("deny.json"), envelope.dump(1) + "\n", 0644));
  return Denied{old.number() + 1, std::move(what)};
}

}  // namespace cloud
