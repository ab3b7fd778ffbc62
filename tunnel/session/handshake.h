// Handshake: one attempt of two nodes to agree on a KeySet. A SecureChannel authenticates both; behind its Finished each side
// sends hello (instance, receive index, candidates) and confirm (PSK id and an MAC over the exporter context), so that another
// PSK or another view of the parameters is a named error on both sides.
//
//   client                                  server
//   TLS ClientHello                     ->
//                                       <-  TLS ServerHello .. Finished
//   TLS Certificate .. Finished, hello  ->  checks the peer, derives keys (may receive from here on)
//   checks, derives, compares           <-  hello, confirm
//   confirm                             ->  compares: confirmed
//
// Packets. Inner packets that wait for keys may follow in the stream: the client's behind its hello, the server's behind its confirm,
// kCarriedPacketsMax of each side. TLS has authenticated both ends by then, and nothing of a stream can be played again. With a
// pre-shared key they wait for the confirm, as everything does that it is to protect.
// No I/O and no clock; owned by the peer it is for (tunnel/peer).
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "tunnel/session/messages.h"
#include "tunnel/session/secure_channel.h"

namespace tunnel {

inline constexpr size_t kCarriedPacketsMax = 16, kCarriedPacketBytesMax = 1500;

struct Psk {
  base::ByteVec id, key;
};

// Of two nodes the one whose name hashes smaller (docs/adr/0007): of two attempts that cross, its own stands; it drives punching. Both
// can tell before they meet.
bool goes_first(std::string_view own_name, std::string_view peer_name);

class Handshake {
 public:
  struct Config {
    bool client = false;
    std::string cluster, own_name, peer_name;
    Digest own_leaf{};
    std::vector<Psk> psks;  // empty: none; else one both have is used, the server's order decides
    SessionHello hello;     // psk_ids are filled in here
    std::function<base::Result<void>(const base::NodeIdentity&)> accept;  // deny list and the like; the name is checked here
  };
  struct Outcome {
    DataKeysPtr keys;
    base::NodeIdentity peer;
    SessionHello hello;      // the peer's
    ResumeSecret resume;     // known to both once confirmed
    bool confirmed = false;  // the peer proved that it has the same keys
  };

  Handshake(Config, std::unique_ptr<SecureChannel>);
  base::Result<void> start();
  // After an error the attempt is over; take_output() may still hold what tells the peer why.
  base::Result<void> feed(base::ByteView);
  base::ByteVec take_output() { return channel_->take_output(); }
  const Outcome* outcome() const { return out_.keys ? &out_ : nullptr; }
  bool confirmed() const { return out_.confirmed; }
  bool may_carry() const;  // one more packet
  base::Result<void> carry(base::ByteView packet);
  std::vector<base::ByteVec> take_packets() { return std::exchange(packets_, {}); }  // that came; outcome() says from whom

 private:
  base::Result<void> advance();
  base::Result<void> on_established();
  base::Result<void> on_hello(base::ByteView);
  base::Result<void> on_confirm(base::ByteView);
  base::Result<void> on_packet(base::ByteView);
  base::Result<void> choose_psk();
  base::Result<void> derive();
  base::Result<void> send(const base::ByteVec& message);
  base::Result<void> send_confirm();
  base::Result<void> refuse(base::Error);

  Config config_;
  std::unique_ptr<SecureChannel> channel_;
  enum class Await : uint8_t { channel, hello, confirm, nothing } await_ = Await::channel;
  base::ByteVec read_;
  Psk psk_;
  Digest own_mac_{}, peer_mac_{};
  Outcome out_;
  std::vector<base::ByteVec> packets_;
  size_t carried_ = 0, taken_ = 0;  // packets sent, and come
};

}  // namespace tunnel
