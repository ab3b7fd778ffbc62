// HANDSHAKE datagrams: frames of a handshake between two nodes that still share a resumption secret, on a path that once worked,
// without any signalling. The secret only opens the door: who stands there is for the TLS inside to say.
//
//    0        1         2      3        4..11   12..19   20..27     28..31    32..n      n..n+16
//   +--------+---------+------+--------+-------+--------+----------+---------+----------+---------+
//   | 0x87 1 | version | kind | zero 1 | id 8  | sender | receiver | counter | payload  | tag 16  |
//   +--------+---------+------+--------+-------+--------+----------+---------+----------+---------+
//   id: of the secret (key_schedule.h). sender, receiver: a random number of each process; receiver is 0 while unknown.
//   counter: counts up per sender. tag: HMAC-SHA256(door key of the sender's TLS role, all before it), first 16 bytes.
// Pure: no state, no clock. Door (tunnel/peer/door.h) judges what is fresh.
#pragma once
#include <optional>

#include "tunnel/session/key_schedule.h"

namespace tunnel {

inline constexpr size_t kDoorHeaderBytes = 32, kDoorTagBytes = 16;
inline constexpr size_t kDoorBytesMin = kDoorHeaderBytes + kDoorTagBytes;
inline constexpr size_t kDoorBytesMax = 1232;  // what every IPv6 path carries in one UDP datagram

enum class DoorKind : uint8_t {
  knock = 1,    // are you there? no payload
  welcome = 2,  // the answer, as long as the shortest knock
  call = 3,     // payload: a CALL, as over signalling
  frame = 4,    // payload: a handshake frame, as over signalling
};

struct DoorPacket {
  DoorKind kind = DoorKind::knock;
  uint64_t id = 0, sender = 0, receiver = 0;
  uint32_t counter = 0;
  base::ByteView payload;  // into the datagram
};

// The fields, unverified. nullopt: not of this version and form, whatever the secret.
std::optional<DoorPacket> read_door(base::ByteView datagram);
bool is_authentic(base::ByteView datagram, const ResumeSecret& key);  // one HMAC; of what read_door() took
base::ByteVec make_door(const DoorPacket&, const ResumeSecret& key);

}  // namespace tunnel
