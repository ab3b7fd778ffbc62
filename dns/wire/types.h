// The numbers of DNS (IANA registry): types, classes, response codes, header bits.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dns {

namespace type {
inline constexpr uint16_t A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, HINFO = 13, TXT = 16, AAAA = 28, SRV = 33, OPT = 41, IXFR = 251, AXFR = 252, ANY = 255;
}
namespace klass {
inline constexpr uint16_t IN = 1, ANY = 255;
}

enum class Rcode : uint16_t { noerror = 0, formerr = 1, servfail = 2, nxdomain = 3, notimp = 4, refused = 5, badvers = 16 };

// RFC 8914 extended errors; none is our own "say nothing".
enum class Ede : uint16_t { none = 0xffff, stale_answer = 3, cached_error = 13, not_ready = 14, prohibited = 18, stale_nxdomain = 19, not_supported = 21, no_reachable_authority = 22, network_error = 23 };

namespace flag {  // the second 16 bits of the header
inline constexpr uint16_t QR = 0x8000, AA = 0x0400, TC = 0x0200, RD = 0x0100, RA = 0x0080, AD = 0x0020, CD = 0x0010;
}

inline constexpr size_t kHeaderSize = 12;
inline constexpr size_t kNameMax = 255;      // RFC 1035 §2.3.4, with length octets and root
inline constexpr size_t kLabelMax = 63;
inline constexpr size_t kMessageMax = 65535;
inline constexpr size_t kUdpMin = 512;
inline constexpr size_t kOptSize = 11;       // an OPT record without options
inline constexpr uint16_t kCookieOption = 10, kKeepaliveOption = 11, kEdeOption = 15;
inline constexpr size_t kClientCookie = 8, kServerCookie = 16;  // RFC 7873; ours are of RFC 9018

}  // namespace dns
