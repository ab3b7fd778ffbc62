// KnownPeers: what a node remembers of the peers it had sessions with, so that it finds them again when neither relay nor source
// answers: a resumption secret (the three newest: a side that died may not have written the last), the direct paths that worked,
// the addresses the peer offered, and the own UDP port. A value with a byte form; who writes it to disk is tunnel/known_peers_file.h.
// At most kKnownPeersMax, the ones met last. Owned by the MeshNode.
//
// Byte form, big-endian:
//   "emknown" 7 | version 1 | UDP port 2 | peers 2 | peer... | SHA-256 over all before it 32
//   peer: name length 1, name | SPKI hash 32 | secrets 1 (1..3), 32 each, newest first |
//         paths 1 (<= 4), each an address and the own port 2 (0: the UDP port above), the one confirmed last first |
//         candidates 1 (<= 8), addresses each
//   address: family 1 (4|6) | address 4|16 | port 2.  Peers are in the order they were met, the last first.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/net/addr.h"
#include "base/net/node_cert.h"
#include "tunnel/session/key_schedule.h"

namespace tunnel {

inline constexpr size_t kKnownPeersMax = 256, kKnownPeersBytesMax = 256 << 10;
inline constexpr size_t kResumeSecretsMax = 3, kKnownPathsMax = 4, kKnownCandidatesMax = 8;

struct KnownPath {
  base::IpPort at;
  uint16_t own_port = 0;  // of a socket that was opened for it by punching; 0: the node's own
  bool operator==(const KnownPath&) const = default;
};

struct KnownPeer {
  base::Sha256 spki{};
  std::vector<ResumeSecret> secrets;       // newest first, at least one
  std::vector<KnownPath> paths;            // direct, confirmed; the last first
  std::vector<base::IpPort> candidates;
  uint64_t met = 0;                        // counts up over all peers
  bool operator==(const KnownPeer&) const = default;
};

class KnownPeers {
 public:
  // Errors say what is wrong with the bytes; nothing of them is taken then.
  static base::Result<KnownPeers> decode(base::ByteView);
  base::ByteVec encode() const;

  const KnownPeer* find(const std::string& name) const;
  std::vector<std::string> by_age() const;  // the last met first
  // A handshake with it succeeded: the oldest secret gives way, and the peer not met for longest.
  void met(const std::string& name, const base::Sha256& spki, const ResumeSecret&);
  void confirm_path(const std::string& name, const KnownPath&);
  void set_candidates(const std::string& name, std::vector<base::IpPort>);
  void forget(const std::string& name);
  uint16_t port = 0;                        // own, UDP
  uint64_t revision() const { return revision_; }  // another one whenever encode() gives something else
  size_t size() const { return peers_.size(); }

 private:
  void drop_oldest();
  std::map<std::string, KnownPeer> peers_;
  uint64_t last_met_ = 0, revision_ = 0;
};

}  // namespace tunnel
