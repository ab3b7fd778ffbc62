// SecureChannel: the mutually authenticated byte stream a handshake runs in. TLS 1.3 on memory buffers (tls_channel.h), or a
// deterministic one for replays (sim_channel.h), which protects nothing. No I/O: bytes in, bytes out.
#pragma once
#include <memory>
#include <string_view>

#include "base/net/node_cert.h"
#include "tunnel/session/key_schedule.h"

namespace tunnel {

class SecureChannel {
 public:
  virtual ~SecureChannel() = default;
  virtual base::Result<void> start() = 0;                // the client's first flight
  virtual base::Result<void> feed(base::ByteView) = 0;   // after an error take_output() may still hold an alert for the peer
  virtual base::ByteVec take_output() = 0;
  virtual bool established() const = 0;                  // both sides are authenticated; the functions below may be called
  virtual base::Result<base::NodeIdentity> peer() const = 0;
  virtual Digest peer_leaf() const = 0;                  // SHA-256 of its certificate
  virtual base::Result<void> write(base::ByteView application_data) = 0;
  virtual base::ByteVec take_read() = 0;                 // application data received so far
  virtual bool takes_packets() const = 0;                // the peer's version does, behind the handshake's messages (handshake.h)
  virtual base::Result<Digest> exporter(std::string_view label, base::ByteView context) = 0;  // kExporterLabel, kResumeLabel
};

}  // namespace tunnel
