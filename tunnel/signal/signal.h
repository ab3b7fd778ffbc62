// Signalling: how two nodes exchange handshake bytes before they have keys. Frames go over HTTP/2 on mutual TLS 1.3: straight to
// the peer where it can be dialled, else through a relay, which sees opaque payloads and names only. Frames may be lost when a
// connection dies; whoever sends repeats. Control loop only.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/net/addr.h"

namespace tunnel {

enum class SignalKind : uint8_t {
  call = 1,       // "please start a handshake with me" , because mine may not be taken
  handshake = 2,  // inner TLS bytes of one attempt
  hint = 3,       // relay: "instance changed" and the like; may only trigger a handshake
};

// A relay's permission for one pair of nodes, as one side gets it (docs/reference/tunnel-protocol.md, relay).
struct RelayGrant {
  std::string relay;              // node name
  base::IpPort relay_address;     // UDP
  std::string peer;
  uint32_t channel = 0;
  uint32_t generation = 0;
  base::ByteVec token;            // public part, sealed by the relay
  base::ByteVec bind_key;         // secret, 32 bytes
  std::chrono::seconds valid{0};  // durations, not times
};

struct RelayInfo {
  std::string name;
  base::IpPort udp_address;
  std::chrono::nanoseconds rtt{0};
  bool connected = false;
  bool takes_records = false;  // want_records() may be asked of it
  base::IpPort signal_address;  // TCP: of the connection, or where it is dialled
  std::string trouble;          // why it is not connected, in words; "": nothing known
};

class Signal {
 public:
  virtual ~Signal() = default;
  // A frame can be sent to that node now: a connection to it, or to a relay that has it, or an address to dial.
  virtual bool has_route(const std::string& node) const = 0;
  virtual std::string trouble(const std::string& node) const { return {}; }  // why it cannot be reached, in words; "": nothing known
  virtual void send(const std::string& to, SignalKind, base::ByteView payload) = 0;  // best effort, <= kSignalMessageBytesMax
  // from is authenticated: by the peer's certificate on a direct connection, else as the relay's word.
  virtual void on_frame(std::function<void(const std::string& from, SignalKind, base::ByteView)>) = 0;
  virtual void on_routes_changed(std::function<void()>) = 0;
  virtual std::vector<RelayInfo> relays() const = 0;
  // Asks that relay, "": the best connected one, for a channel with peer; both ends then get on_grant. No relay: nothing happens.
  virtual void request_grant(const std::string& peer, const std::string& relay) = 0;
  virtual void on_grant(std::function<void(RelayGrant)>) = 0;

  // Where UDP does not pass, datagrams for a relay go over a TCP connection of their own. Kept while wanted; on_routes_changed tells
  // when it comes and goes.
  virtual void want_records(const std::string& relay, bool wanted) { (void)relay, (void)wanted; }
  // Of the connection that stands now: its number, 0: none; and what sends by it, from any thread, or drops (head drop).
  struct RecordRoute {
    uint64_t id = 0;
    std::function<void(base::ByteView)> send;
  };
  virtual RecordRoute records_to(const std::string& relay) { (void)relay; return {}; }
  virtual void on_record(std::function<void(const std::string& relay, base::ByteView)>) {}
};

}  // namespace tunnel
