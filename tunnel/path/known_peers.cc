#include "tunnel/path/known_peers.h"

#include <algorithm>

namespace tunnel {
namespace {

constexpr std::string_view kMagic = "emknown";
constexpr uint8_t kVersion = 1;
constexpr size_t kNameBytesMax = 253, kChecksumBytes = 32;

void put(base::Writer& w, const base::IpPort& a) {
  w.u8(a.ip.is_v4() ? 4 : 6);
  w.put(a.ip.bytes());
  w.u16(a.port);
}

void put(base::Writer& w, const KnownPath& p) {
  put(w, p.at);
  w.u16(p.own_port);
}

bool take(base::Reader& r, base::IpPort& into) {
  uint8_t family = r.u8();
  if (family != 4 && family != 6) return false;
  base::ByteView ip = r.take(family == 4 ? 4 : 16);
  into.port = r.u16();
  if (!r.ok() || into.port == 0) return false;
  into.ip = family == 4 ? base::IpAddr::v4(ip.data()) : base::IpAddr::v6(ip.data());
  return true;
}

bool take(base::Reader& r, KnownPath& into) {
  bool ok = take(r, into.at);
  into.own_port = r.u16();
  return ok && r.ok();
}

template <class List>
void put_list(base::Writer& w, const List& list) {
  w.u8(uint8_t(list.size()));
  for (const auto& x : list) put(w, x);
}

template <class List>
bool take_list(base::Reader& r, size_t most, List& into) {
  size_t n = r.u8();
  if (!r.ok() || n > most) return false;
  for (size_t i = 0; i < n; i++)
    if (!take(r, into.emplace_back())) return false;
  return true;
}

bool take(base::Reader& r, std::string& name, KnownPeer& p) {
  name = base::as_text(r.take(r.u8()));
  base::ByteView spki = r.take(p.spki.size());
  if (!r.ok() || name.size() > kNameBytesMax || !base::is_valid_node_name(name)) return false;
  std::copy(spki.begin(), spki.end(), p.spki.begin());
  size_t secrets = r.u8();
  if (secrets == 0 || secrets > kResumeSecretsMax) return false;
  for (size_t i = 0; i < secrets; i++) {
    base::ByteView b = r.take(sizeof(Digest));
    if (!r.ok()) return false;
    std::copy(b.begin(), b.end(), p.secrets.emplace_back().bytes.begin());
  }
  return take_list(r, kKnownPathsMax, p.paths) && take_list(r, kKnownCandidatesMax, p.candidates);
}

}  // namespace

base::Result<KnownPeers> KnownPeers::decode(base::ByteView b) {
  if (b.size() < kMagic.size() + 1 + kChecksumBytes || b.size() > kKnownPeersBytesMax || base::as_text(b.first(kMagic.size())) != kMagic)
    return base::fail(base::Code::invalid, "this is no list of known peers");
  if (b[kMagic.size()] != kVersion) return base::fail(base::Code::invalid, "version {} of the list is not known, {} is", b[kMagic.size()], kVersion);
  base::ByteView text = b.first(b.size() - kChecksumBytes);
  if (!same_digest(base::sha256(text), b.last(kChecksumBytes))) return base::fail(base::Code::invalid, "the checksum is wrong");
  base::Reader r(text.subspan(kMagic.size() + 1));
  KnownPeers out;
  out.port = r.u16();
  size_t n = r.u16();
  if (n > kKnownPeersMax) return base::fail(base::Code::limit, "{} peers, at most {} are kept", n, kKnownPeersMax);
  for (size_t i = 0; i < n; i++) {
    std::string name;
    KnownPeer p;
    p.met = n - i;
    if (!take(r, name, p) || !out.peers_.emplace(name, std::move(p)).second) return base::fail(base::Code::invalid, "peer {} is malformed", i + 1);
  }
  if (!r.at_end()) return base::fail(base::Code::invalid, "there are bytes behind the last peer");
  out.last_met_ = n;
  return out;
}

base::ByteVec KnownPeers::encode() const {
  base::ByteVec out;
  out.reserve(kKnownPeersBytesMax);  // so that no copy of the secrets stays behind
  base::Writer w(out);
  w.put(base::as_bytes(kMagic));
  w.u8(kVersion);
  w.u16(port);
  w.u16(uint16_t(peers_.size()));
  for (const auto& name : by_age()) {
    const KnownPeer& p = peers_.at(name);
    w.u8(uint8_t(name.size()));
    w.put(base::as_bytes(name));
    w.put(p.spki);
    w.u8(uint8_t(p.secrets.size()));
    for (const auto& s : p.secrets) w.put(s.bytes);
    put_list(w, p.paths);
    put_list(w, p.candidates);
  }
  w.put(base::sha256(out));
  return out;
}

const KnownPeer* KnownPeers::find(const std::string& name) const {
  auto it = peers_.find(name);
  return it == peers_.end() ? nullptr : &it->second;
}

std::vector<std::string> KnownPeers::by_age() const {
  std::vector<std::string> out;
  for (const auto& [name, p] : peers_) out.push_back(name);
  std::sort(out.begin(), out.end(), [&](const auto& a, const auto& b) { return peers_.at(a).met > peers_.at(b).met; });
  return out;
}

void KnownPeers::met(const std::string& name, const base::Sha256& spki, const ResumeSecret& secret) {
  KnownPeer& p = peers_[name];
  p.spki = spki;
  p.met = ++last_met_;
  std::erase(p.secrets, secret);
  p.secrets.insert(p.secrets.begin(), secret);
  if (p.secrets.size() > kResumeSecretsMax) p.secrets.pop_back();
  if (peers_.size() > kKnownPeersMax) drop_oldest();
  revision_++;
}

void KnownPeers::drop_oldest() {
  peers_.erase(std::min_element(peers_.begin(), peers_.end(), [](const auto& a, const auto& b) { return a.second.met < b.second.met; }));
}

void KnownPeers::confirm_path(const std::string& name, const KnownPath& path) {
  auto it = peers_.find(name);
  if (it == peers_.end()) return;
  auto& paths = it->second.paths;
  if (!paths.empty() && paths[0] == path) return;
  std::erase_if(paths, [&](const KnownPath& p) { return p.at == path.at; });
  paths.insert(paths.begin(), path);
  if (paths.size() > kKnownPathsMax) paths.pop_back();
  revision_++;
}

void KnownPeers::set_candidates(const std::string& name, std::vector<base::IpPort> list) {
  auto it = peers_.find(name);
  if (it == peers_.end()) return;
  if (list.size() > kKnownCandidatesMax) list.resize(kKnownCandidatesMax);
  if (list == it->second.candidates) return;
  it->second.candidates = std::move(list);
  revision_++;
}

void KnownPeers::forget(const std::string& name) {
  if (peers_.erase(name)) revision_++;
}

}  // namespace tunnel
