// A TLS connection as a Stream: on_connected comes when both sides are authenticated (on servers too), on_end means the peer's
// close_notify, and an end without one is reported as a truncation. The handshake has a deadline.
#pragma once
#include "base/net/stream.h"
#include "base/net/tls.h"

namespace base {

struct TlsStreamOptions {
  TlsRole role = TlsRole::client;
  WallTime verify_at;
  std::string expected_name;      // see TlsEngine
  Duration handshake_within = 10s;  // counted from start(), includes connecting
  StreamLimits limits;
};

class TlsStream : public Stream {
 public:
  virtual const TlsEngine& tls() const = 0;
};

std::unique_ptr<TlsStream> make_tls_stream(Loop&, std::unique_ptr<Stream> below, std::shared_ptr<const TlsContext>, TlsStreamOptions);

}  // namespace base
