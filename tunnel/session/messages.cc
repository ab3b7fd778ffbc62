#include "tunnel/session/messages.h"

#include <algorithm>

#include "base/core/limits.h"
#include "tunnel/session/control.pb.h"

namespace tunnel {
namespace {
namespace pb = ::edgemesh::control::v1;

constexpr size_t kPskIdsMax = 4;
constexpr size_t kTextMax = 256;  // names and reasons inside messages

std::string bytes_of(base::ByteView b) { return std::string(base::as_text(b)); }
base::ByteVec vec_of(const std::string& s) {
  auto b = base::as_bytes(s);
  return {b.begin(), b.end()};
}

std::optional<base::IpPort> address_of(const std::string& ip, uint32_t port) {
  if (port == 0 || port > 65535) return std::nullopt;
  auto p = base::as_bytes(ip).data();
  if (ip.size() == 4) return base::IpPort{base::IpAddr::v4(p), uint16_t(port)};
  if (ip.size() == 16) return base::IpPort{base::IpAddr::v6(p), uint16_t(port)};
  return std::nullopt;
}

template <class List>
void put_candidates(const std::vector<Candidate>& from, List* to) {
  for (const Candidate& c : from) {
    if (size_t(to->size()) >= base::limits::kCandidatesPerPeerMax) return;
    auto* out = to->Add();
    out->set_kind(pb::Candidate::Kind(int(c.kind)));
    out->set_ip(bytes_of(c.at.ip.bytes()));
    out->set_port(c.at.port);
  }
}

template <class List>
std::vector<Candidate> candidates_of(const List& from) {
  std::vector<Candidate> out;
  for (const auto& c : from) {
    if (out.size() >= base::limits::kCandidatesPerPeerMax) break;
    auto at = address_of(c.ip(), c.port());
    if (at && c.kind() >= 0 && c.kind() <= int(CandidateKind::advertised)) out.push_back({CandidateKind(c.kind()), *at});
  }
  return out;
}

void put(const NatClass& from, pb::Nat* to) {
  to->set_mapping(uint32_t(from.mapping));
  to->set_keeps_port(from.keeps_port);
  to->set_delta(from.delta);
}

NatClass nat_of(const pb::Nat& from) {
  if (from.mapping() > uint32_t(NatMapping::endpoint)) return {};
  return {NatMapping(from.mapping()), from.keeps_port(), std::clamp(int(from.delta()), -kNatDeltaMax, kNatDeltaMax)};
}

ControlBody punch_of(const pb::PunchNow& p) {
  if (p.rung() > uint32_t(PunchRung::birthday)) return {};
  return PunchNow{p.round(), PunchRung(p.rung()), p.ready(), candidates_of(p.candidates())};
}

void put(const ExportRequest& from, pb::ExportRequest* to) {
  to->set_service(from.service);
  to->set_protocol(uint32_t(from.proto));
  to->set_ip(bytes_of(from.endpoint.ip.bytes()));
  to->set_port(from.endpoint.port);
}

std::optional<ExportRequest> export_of(const pb::ExportRequest& from) {
  auto at = address_of(from.ip(), from.port());
  bool known = from.protocol() == uint32_t(base::Proto::tcp) || from.protocol() == uint32_t(base::Proto::udp);
  if (!at || !known || from.service().size() > kTextMax) return std::nullopt;
  return ExportRequest{from.service(), base::Proto(from.protocol()), *at};
}

struct PutBody {
  pb::Control* to;
  void operator()(std::monostate) {}
  void operator()(const Ack&) { to->set_ack(true); }
  void operator()(const ExportRequest& x) { put(x, to->mutable_export_request()); }
  void operator()(const ExportRelease& x) { put(x.what, to->mutable_export_release()->mutable_what()); }
  void operator()(const ExportWithdraw& x) { put(x.what, to->mutable_export_withdraw()->mutable_what()); }
  void operator()(const ExportReply& x) {
    auto* r = to->mutable_export_reply();
    r->set_error(x.error.substr(0, kTextMax));
    if (!x.grant) return;
    r->set_ip(bytes_of(x.grant->at.ip.bytes()));
    r->set_port(x.grant->at.port);
    r->set_lease_seconds(uint32_t(x.grant->lease.count()));
  }
  void operator()(const CandidateList& x) {
    put_candidates(x.candidates, to->mutable_candidates()->mutable_candidates());
    to->mutable_candidates()->set_revision(x.revision);
    put(x.nat, to->mutable_candidates()->mutable_nat());
  }
  void operator()(const PunchNow& x) {
    auto* p = to->mutable_punch_now();
    p->set_round(x.round);
    p->set_rung(uint32_t(x.rung));
    p->set_ready(x.ready);
    put_candidates(x.candidates, p->mutable_candidates());
  }
  void operator()(const Close& x) { to->mutable_close()->set_reason(x.reason.substr(0, kTextMax)); }
  void operator()(const DenyPart& x) {
    auto* p = to->mutable_deny_part();
    p->set_number(x.number);
    p->set_offset(x.offset);
    p->set_total(x.total);
    p->set_bytes(bytes_of(x.bytes));
  }
};

ControlBody reply_of(const pb::ExportReply& r) {
  auto at = address_of(r.ip(), r.port());
  if (!at) return ExportReply{std::nullopt, r.error().empty() ? "the peer's answer has no address" : r.error().substr(0, kTextMax)};
  auto lease = std::chrono::seconds(std::clamp<uint32_t>(r.lease_seconds(), 10, 3600));
  return ExportReply{ExportGrant{*at, lease}, ""};
}

template <class As>
ControlBody wrapped(const pb::ExportRequest& x) {
  auto e = export_of(x);
  return e ? ControlBody(As{*e}) : ControlBody();
}

ControlBody body_of(const pb::Control& c) {
  switch (c.what_case()) {
    case pb::Control::kExportRequest: {
      auto e = export_of(c.export_request());
      return e ? ControlBody(*e) : ControlBody();
    }
    case pb::Control::kExportReply: return reply_of(c.export_reply());
    case pb::Control::kExportRelease: return wrapped<ExportRelease>(c.export_release().what());
    case pb::Control::kExportWithdraw: return wrapped<ExportWithdraw>(c.export_withdraw().what());
    case pb::Control::kCandidates: return CandidateList{candidates_of(c.candidates().candidates()), c.candidates().revision(), nat_of(c.candidates().nat())};
    case pb::Control::kPunchNow: return punch_of(c.punch_now());
    case pb::Control::kClose: return Close{c.close().reason().substr(0, kTextMax)};
    case pb::Control::kDenyPart: {
      const auto& p = c.deny_part();
      return DenyPart{p.number(), p.offset(), p.total(), vec_of(p.bytes())};
    }
    case pb::Control::kAck: return Ack{};
    case pb::Control::WHAT_NOT_SET: break;
  }
  return {};
}

template <class Message>
base::ByteVec serialized(const Message& m) {
  base::ByteVec out(m.ByteSizeLong());
  EM_ASSERT(m.SerializeToArray(out.data(), int(out.size())));
  return out;
}

template <class Message>
bool parse(Message& m, base::ByteView b) {
  return b.size() <= base::limits::kSignalMessageBytesMax && m.ParseFromArray(b.data(), int(b.size()));
}

bool is_aead(uint32_t v) { return v == uint32_t(AeadId::aes_128_gcm) || v == uint32_t(AeadId::chacha20_poly1305); }

}  // namespace

const char* to_string(CandidateKind k) {
  static constexpr const char* kNames[] = {"host", "srflx", "prflx", "advertised"};
  return kNames[size_t(k)];
}

const char* to_string(PunchRung r) {
  static constexpr const char* kNames[] = {"ask", "plain", "fresh", "predict", "birthday"};
  return kNames[size_t(r)];
}

base::ByteVec encode(const SessionHello& h) {
  pb::SessionHello m;
  m.set_instance(h.instance);
  m.set_index(h.index);
  m.set_aead(uint32_t(h.aead));
  put_candidates(h.candidates, m.mutable_candidates());
  m.set_network(h.network);
  m.set_lan_id(bytes_of(h.lan_id));
  for (const auto& id : h.psk_ids) m.add_psk_ids(bytes_of(id));
  put(h.nat, m.mutable_nat());
  return serialized(m);
}

base::ByteVec encode(const SessionConfirm& c) {
  pb::SessionConfirm m;
  m.set_psk_id(bytes_of(c.psk_id));
  m.set_mac(bytes_of(c.mac));
  m.set_refused(c.refused.substr(0, kTextMax));
  return serialized(m);
}

base::ByteVec encode(const ControlMessage& c) {
  pb::Control m;
  m.set_id(c.id);
  m.set_reply(c.reply);
  std::visit(PutBody{&m}, c.body);
  return serialized(m);
}

std::optional<SessionHello> decode_hello(base::ByteView b) {
  pb::SessionHello m;
  if (!parse(m, b) || m.index() == 0 || !is_aead(m.aead()) || m.network().size() > kTextMax || m.lan_id().size() > 64) return std::nullopt;
  SessionHello h{m.instance(), m.index(), AeadId(m.aead()), candidates_of(m.candidates()), m.network(), vec_of(m.lan_id()), {}, nat_of(m.nat())};
  for (int i = 0; i < m.psk_ids_size() && h.psk_ids.size() < kPskIdsMax; i++) h.psk_ids.push_back(vec_of(m.psk_ids(i)));
  return h;
}

std::optional<SessionConfirm> decode_confirm(base::ByteView b) {
  pb::SessionConfirm m;
  if (!parse(m, b)) return std::nullopt;
  return SessionConfirm{vec_of(m.psk_id()), vec_of(m.mac()), m.refused().substr(0, kTextMax)};
}

std::optional<ControlMessage> decode_control(base::ByteView b) {
  pb::Control m;
  if (!parse(m, b)) return std::nullopt;
  return ControlMessage{m.id(), m.reply(), body_of(m)};
}

}  // namespace tunnel
