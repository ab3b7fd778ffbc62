// TLS 1.3 without I/O: bytes of the wire in, plaintext out, and back. Mutual by default: both ends show a certificate and
// check the other's against their CAs at a given time; whom they then admit is decided by a callback. No tickets, no 0-RTT,
// no renegotiation, no older version. tls_stream.h puts it on a connection; the tunnel carries it in its own handshake.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/core/time.h"
#include "base/net/buffer.h"

namespace base {

// Tolerance around the verification time: node clocks may be wrong, and offline nodes late to renew.
struct DateRules {
  std::function<WallTime()> starts_by;   // where given, a certificate's start is judged by the later of this and the verification time
  std::chrono::seconds expiry_grace{0};  // after its end
};

struct TlsConfig {
  std::string certificate_pem;  // leaf first, then intermediates; may be empty for a client that shows none
  std::string key_pem;
  std::string ca_pem;           // one or more roots
  bool require_client_certificate = true;  // servers
  bool accept_any_server = false;          // clients told so by an operator: neither chain, dates nor name are checked
  std::vector<std::string> alpn;           // in order of preference; a peer with ALPN and none of these is refused
  std::chrono::seconds not_before_slack{0};
  DateRules dates;
  // After the chain was verified: may this peer talk to us? Its error is ours; the peer only learns that it was refused.
  std::function<Result<void>(ByteView leaf_der)> verify;
};

// Parsed credentials; immutable, shared by many engines, also across threads as long as `verify` allows it.
class TlsContext {
 public:
  struct Impl;  // opaque
  static Result<std::shared_ptr<const TlsContext>> make(TlsConfig);
  ~TlsContext();

 private:
  friend class TlsEngine;
  explicit TlsContext(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

enum class TlsRole { client, server };

class TlsEngine {
 public:
  struct Impl;  // opaque
  // expected_name: a client checks the server's certificate for this DNS name or address; empty where `verify` does it.
  TlsEngine(std::shared_ptr<const TlsContext>, TlsRole, WallTime verify_at, const std::string& expected_name = {});
  ~TlsEngine();
  TlsEngine(const TlsEngine&) = delete;

  // A client's first message; a server has nothing to say yet.
  Result<void> start();
  // Bytes from the peer, in any portions. Plaintext is appended. After an error only output() (an alert) is left to be sent.
  Result<void> feed(ByteView ciphertext, Buffer& plaintext);
  // Not before handshake_done().
  Result<void> write(ByteView plaintext);
  // close_notify: our side sends nothing more.
  void close();
  Buffer& output();  // for the peer; consume what was sent

  bool handshake_done() const;
  bool peer_closed() const;  // its close_notify came; an end without one is a truncation
  ByteVec peer_leaf() const;               // DER; empty before it came or when a client showed none
  std::vector<ByteVec> peer_chain() const;  // DER, leaf first
  std::string alpn() const;                 // what was agreed on; empty: nothing
  // RFC 8446 §7.5; after handshake_done(). Equal at both ends of one connection only.
  Result<ByteVec> export_keying_material(std::string_view label, ByteView context, size_t length) const;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace base
