// A TCP connection through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6) as a Stream: it is connected when the proxy says so, and
// from then on it is the far end's bytes. Whoever waits bounds the time. The proxy learns the relay's address and nothing else: what
// goes through is TLS from end to end.
#pragma once
#include <memory>
#include <optional>

#include "base/net/stream.h"

namespace tunnel {

inline constexpr size_t kProxyAnswerBytesMax = 8192;

// How many bytes of `in` are the proxy's answer, when it is there as a whole and says yes; none: more is to come.
// The error says what the proxy answered.
base::Result<std::optional<size_t>> read_connect_answer(base::ByteView in);

// below: on its way to the proxy, not started.
std::unique_ptr<base::Stream> through_proxy(base::Loop&, std::unique_ptr<base::Stream> below, const base::IpPort& target);

}  // namespace tunnel
