// Server cookies in the form all servers understand (RFC 9018): version, time, and SipHash-2-4 of them, the client's cookie and address
// under a secret of this process. A client that gets its own cookie back knows that the answer is no forgery from aside. Ours are never
// demanded: a query without one, or with an old one, is answered all the same.
#pragma once
#include <array>

#include "base/core/rng.h"
#include "base/net/addr.h"
#include "dns/wire/query.h"

namespace dns {

using CookieSecret = std::array<uint8_t, 16>;

uint64_t siphash24(const CookieSecret& key, base::ByteView);

// Fills in the server's part of q.cookie.
void make_cookie(Query& q, const base::IpAddr& client, uint32_t unix_seconds, const CookieSecret&);

}  // namespace dns
