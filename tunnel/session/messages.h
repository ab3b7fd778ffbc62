// What two nodes say to each other inside a session, as values: the hello and confirm behind the handshake, and CONTROL.
// The wire form is control.proto; only messages.cc knows it. Decoding bounds every list and drops what it does not know.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/core/bytes.h"
#include "base/net/addr.h"
#include "tunnel/session/data_keys.h"
#include "tunnel/session/export.h"
#include "tunnel/stun/nat_class.h"

namespace tunnel {

enum class CandidateKind : uint8_t { host, srflx, prflx, advertised };
const char* to_string(CandidateKind);
struct Candidate {
  CandidateKind kind = CandidateKind::host;
  base::IpPort at;
  auto operator<=>(const Candidate&) const = default;
};

struct SessionHello {
  uint64_t instance = 0;
  uint32_t index = 0;  // the sender's receive index
  AeadId aead = AeadId::aes_128_gcm;
  std::vector<Candidate> candidates;
  std::string network;
  base::ByteVec lan_id;
  std::vector<base::ByteVec> psk_ids;
  NatClass nat;
};

struct SessionConfirm {
  base::ByteVec psk_id, mac;
  std::string refused;
};

struct Ack {};
struct ExportReply {
  std::optional<ExportGrant> grant;
  std::string error;
};
struct ExportRelease { ExportRequest what; };   // by the one who asked
struct ExportWithdraw { ExportRequest what; };  // by the one who granted
struct CandidateList {
  std::vector<Candidate> candidates;
  uint64_t revision = 0;
  NatClass nat;
};
enum class PunchRung : uint8_t { ask, plain, fresh, predict, birthday };  // ask: the driving side is to begin
const char* to_string(PunchRung);
struct PunchNow {
  uint32_t round = 0;
  PunchRung rung = PunchRung::plain;
  bool ready = false;
  std::vector<Candidate> candidates;
};
struct Close { std::string reason; };
struct DenyPart {         // of the sender's deny list; as an answer without bytes: the number held
  uint64_t number = 0;
  uint32_t offset = 0, total = 0;
  base::ByteVec bytes;
};
using ControlBody =
    std::variant<std::monostate, Ack, ExportRequest, ExportReply, ExportRelease, ExportWithdraw, CandidateList, PunchNow, Close, DenyPart>;

struct ControlMessage {
  uint64_t id = 0;
  bool reply = false;
  ControlBody body;  // monostate: a kind this version does not know
};

base::ByteVec encode(const SessionHello&);
base::ByteVec encode(const SessionConfirm&);
base::ByteVec encode(const ControlMessage&);
std::optional<SessionHello> decode_hello(base::ByteView);
std::optional<SessionConfirm> decode_confirm(base::ByteView);
std::optional<ControlMessage> decode_control(base::ByteView);

}  // namespace tunnel
