#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sys/random.h>
#include <unistd.h>

#include <mutex>
#include <set>

#include "base/core/assert.h"
#include "base/core/bytes.h"
#include "base/core/log.h"
#include "base/core/rng.h"

namespace base {

void assert_failed(const char* expr, const char* file, int line) {
  std::fprintf(stderr, "edgemeshd: BUG: assertion failed: %s at %s:%d\n", expr, file, line);
  std::abort();
}

void doubt(const char* expr, const char* file, int line) {
  static std::mutex mu;
  static std::set<std::pair<std::string_view, int>> seen;
  bool first;
  {
    std::lock_guard lock(mu);
    first = seen.insert({file, line}).second;
  }
  if (first) EM_LOG(error, "core", "doubtful invariant: {} at {}:{} (said once; the program goes on)", expr, file, line);
}

// ---- bytes

std::string to_hex(ByteView b) {
  static const char digits[] = "0123456789abcdef";
  std::string s;
  s.reserve(b.size() * 2);
  for (uint8_t c : b) s += {digits[c >> 4], digits[c & 15]};
  return s;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<ByteVec> from_hex(std::string_view s) {
  if (s.size() % 2) return {};
  ByteVec out;
  out.reserve(s.size() / 2);
  for (size_t i = 0; i < s.size(); i += 2) {
    int hi = hex_value(s[i]), lo = hex_value(s[i + 1]);
    if (hi < 0 || lo < 0) return {};
    out.push_back(uint8_t(hi << 4 | lo));
  }
  return out;
}

static const char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(ByteView b) {
  std::string s;
  for (size_t i = 0; i < b.size(); i += 3) {
    size_t n = std::min<size_t>(3, b.size() - i);
    uint32_t v = uint32_t(b[i]) << 16 | (n > 1 ? b[i + 1] << 8 : 0) | (n > 2 ? b[i + 2] : 0);
    s += kBase64[v >> 18];
    s += kBase64[v >> 12 & 63];
    s += n > 1 ? kBase64[v >> 6 & 63] : '=';
    s += n > 2 ? kBase64[v & 63] : '=';
  }
  return s;
}

std::optional<ByteVec> from_base64(std::string_view s) {
  if (s.size() % 4) return {};
  ByteVec out;
  for (size_t i = 0; i < s.size(); i += 4) {
    uint32_t v = 0;
    size_t pad = 0;
    for (size_t k = 0; k < 4; k++) {
      char c = s[i + k];
      const char* at = c ? std::char_traits<char>::find(kBase64, 64, c) : nullptr;
      if (c == '=' && i + 4 == s.size() && k >= 2) pad++;
      else if (!at || pad) return {};
      v = v << 6 | (at ? uint32_t(at - kBase64) : 0);
    }
    uint8_t t[3] = {uint8_t(v >> 16), uint8_t(v >> 8), uint8_t(v)};
    if ((pad == 1 && t[2]) || (pad == 2 && (t[1] | t[2]))) return {};
    out.insert(out.end(), t, t + 3 - pad);
  }
  return out;
}

void secure_zero(void* p, size_t n) {
  std::memset(p, 0, n);
  asm volatile("" : : "r"(p) : "memory");
}

// ---- rng

uint64_t Rng::below(uint64_t n) {
  EM_ASSERT(n > 0);
  uint64_t limit = UINT64_MAX - UINT64_MAX % n;  // reject the tail so that every value is equally likely
  uint64_t v;
  do v = u64();
  while (v >= limit);
  return v % n;
}

void SystemRng::fill(MutByteView out) {
  while (!out.empty()) {
    ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    EM_ASSERT(n > 0);
    out = out.subspan(size_t(n));
  }
}

SeededRng::SeededRng(uint64_t seed) {
  for (auto& s : s_) {  // splitmix64
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    s = z ^ z >> 31;
  }
}

uint64_t SeededRng::next() {
  auto rotl = [](uint64_t x, int k) { return x << k | x >> (64 - k); };
  uint64_t result = rotl(s_[1] * 5, 7) * 9, t = s_[1] << 17;
  s_[2] ^= s_[0];
  s_[3] ^= s_[1];
  s_[1] ^= s_[2];
  s_[0] ^= s_[3];
  s_[2] ^= t;
  s_[3] = rotl(s_[3], 45);
  return result;
}

void SeededRng::fill(MutByteView out) {
  for (size_t i = 0; i < out.size(); i += 8) {
    uint64_t v = next();
    for (size_t k = i; k < out.size() && k < i + 8; k++, v >>= 8) out[k] = uint8_t(v);
  }
}

// ---- log

static std::atomic<LogLevel> g_level{LogLevel::info};
static std::mutex g_log_mu;
static std::function<void(LogLevel, std::string_view)> g_sink;

void set_log_level(LogLevel l) { g_level.store(l, std::memory_order_relaxed); }
LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }
void set_log_sink(std::function<void(LogLevel, std::string_view)> sink) {
  std::lock_guard lock(g_log_mu);
  g_sink = std::move(sink);
}

static constexpr uint32_t kLinesPerWindow = 10;
static constexpr int64_t kWindowMs = 10'000;

bool log_allowed(LogSite& site) {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  int64_t now_ms = t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
  int64_t start = site.window_start_ms.load(std::memory_order_relaxed);
  if (start == 0 || now_ms - start >= kWindowMs) {
    if (site.window_start_ms.compare_exchange_strong(start, now_ms, std::memory_order_relaxed))
      site.in_window.store(0, std::memory_order_relaxed);
  }
  if (site.in_window.fetch_add(1, std::memory_order_relaxed) < kLinesPerWindow) return true;
  site.suppressed.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void log_write(LogLevel level, const char* module, LogSite& site, std::string_view text) {
  static const char* const names[] = {"error", "warn", "info", "debug"};
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  tm utc{};
  ::gmtime_r(&t.tv_sec, &utc);
  std::string line = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z {} {}: {}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                                 utc.tm_hour, utc.tm_min, utc.tm_sec, t.tv_nsec / 1'000'000, names[int(level)], module, text);
  for (char& c : line)
    if (c == '\n' || c == '\r') c = ' ';
  if (uint32_t n = site.suppressed.exchange(0, std::memory_order_relaxed)) line += fmt::format(" ({} more like this)", n);
  std::lock_guard lock(g_log_mu);
  if (g_sink) return g_sink(level, line);
  line += '\n';
  [[maybe_unused]] ssize_t n = ::write(2, line.data(), line.size());
}

}  // namespace base
