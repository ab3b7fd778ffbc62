#include "cloud/ca/ca_cli.h"

#include <nlohmann/json.hpp>

#include "cloud/ca/authority.h"

namespace cloud {
namespace {

using base::Code;

template <class T>
base::Result<std::vector<T>> parse_all(const std::vector<std::string>& texts, const char* option, const char* noun) {
  std::vector<T> out;
  for (auto& t : texts) {
    auto v = T::parse(t);
    if (!v) return base::fail(Code::invalid, "{}: \"{}\" is not {}", option, t, noun);
    out.push_back(*v);
  }
  return out;
}

template <class T>
std::vector<std::string> texts_of(const std::vector<T>& v) {
  std::vector<std::string> out;
  for (auto& e : v) out.push_back(e.str());
  return out;
}

std::string joined(const std::vector<std::string>& v) {
  std::string out;
  for (auto& e : v) out += (out.empty() ? "" : ", ") + e;
  return out.empty() ? "-" : out;
}

std::string report_json(const Issued& i, const std::string& out_dir) {
  auto& id = i.identity;
  nlohmann::ordered_json j = {{"node", id.name},
                              {"trustDomain", id.trust_domain},
                              {"overlay", texts_of(id.overlay_ips)},
                              {"podCIDRs", texts_of(id.pod_cidrs)},
                              {"roles", id.roles},
                              {"key", base::to_hex(id.spki_sha256)},
                              {"notAfter", base::to_date(id.not_after)},
                              {"dir", out_dir},
                              {"warnings", i.warnings}};
  return j.dump(2) + "\n";
}

std::string report_text(const Issued& i, const std::string& out_dir) {
  auto& id = i.identity;
  std::string out = fmt::format(
      "node      {}\nidentity  {}\noverlay   {}\npods      {}\nroles     {}\nvalid to  {}\nwrote     {}/node.crt node.key ca.crt\n", id.name,
      base::node_uri(id.trust_domain, id.name), joined(texts_of(id.overlay_ips)), joined(texts_of(id.pod_cidrs)), joined(id.roles),
      base::to_date(id.not_after), out_dir);
  for (auto& w : i.warnings) out += "warning: " + w + "\n";
  return out;
}

base::Result<void> need(const std::string& value, const char* option, const char* what) {
  if (value.empty()) return base::fail(Code::invalid, "{} is missing: {}", option, what);
  return {};
}

bool looks_like_path(const std::string& s) { return s.find('/') != std::string::npos || s.ends_with(".crt") || s.ends_with(".pem"); }

}  // namespace

base::Result<std::string> ca_init(const CaInitArgs& a, base::Rng& rng, base::WallTime now) {
  EM_TRY(need(a.dir, "--dir", "the folder to make the CA in"));
  EM_TRY(need(a.trust_domain, "--trust-domain", "the name of this mesh, e.g. mesh.example"));
  InitRequest req{a.trust_domain, {}};
  if (!a.overlay.empty()) {
    req.overlay4 = base::Cidr::parse(a.overlay);
    if (!req.overlay4) return base::fail(Code::invalid, "--overlay: \"{}\" is not an address range", a.overlay);
  }
  EM_TRY(CertificateAuthority(a.dir, rng).init(req, now));
  return fmt::format("CA of {} made in {}\nKeep {}/ca.key off the nodes. Next: edgemeshctl ca issue --dir {} NODE\n", a.trust_domain, a.dir, a.dir, a.dir);
}

base::Result<std::string> ca_issue(const CaIssueArgs& a, base::Rng& rng, base::WallTime now) {
  EM_TRY(need(a.dir, "--dir", "the folder of the CA"));
  EM_TRY(need(a.node, "NODE", "the name of the node"));
  IssueRequest req;
  req.node = a.node;
  EM_TRY_ASSIGN(req.overlay_ips, parse_all<base::IpAddr>(a.overlay, "--overlay", "an IP address"));
  EM_TRY_ASSIGN(req.pod_cidrs, parse_all<base::Cidr>(a.pod_cidrs, "--pod-cidr", "an address range"));
  req.roles = a.roles;
  req.days = a.days;
  req.renew = a.renew;
  std::string out_dir = a.out.empty() ? a.node : a.out;
  EM_TRY_ASSIGN(auto issued, CertificateAuthority(a.dir, rng).issue(req, out_dir, now));
  return a.json ? report_json(issued, out_dir) : report_text(issued, out_dir);
}

base::Result<std::string> ca_deny(const CaDenyArgs& a, base::Rng& rng, base::WallTime now) {
  EM_TRY(need(a.dir, "--dir", "the folder of the CA"));
  EM_TRY(need(a.what, "NODE", "the name of the node, or its certificate file"));
  CertificateAuthority ca(a.dir, rng);
  auto denied = looks_like_path(a.what) ? ca.deny_certificate(a.what, now) : ca.deny_name(a.what, now);
  if (!denied) return tl::unexpected(denied.error());
  return fmt::format("{} is denied; {}/deny.json is now number {}. Bring it to any node: it spreads from there.\n", denied->what, a.dir, denied->number);
}

}  // namespace cloud
