// CacheFile: what upstreams answered, as one file, so that a node that starts without a network still resolves what it resolved before
// (as stale answers, RFC 8767). Pure: bytes and times in, values out; CacheKeeper (cache_keeper.h) reads and writes the file.
//
//   0  magic "emdnscch"      8  version, u32      12  zero, u32      16  written, u64 seconds since 1970
//   24 written, u64 ns since boot                 32  boot id, u64   40  body length, u64
//   48 checksum, u64 over everything else         56  body
//
// The body is private to a version: entries, least recently used first, each
//   key length, u16 | key | age, fresh for, usable for: u32 seconds when the file was begun | message length, u16 | message
// Within one boot times go on exactly. After another boot the hour may be unknown (a board without a clock battery): everything
// is past its time then, and usable for what was left of it, less what the wall clock says has passed.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "dns/upstream/answer_cache.h"

namespace dns {

inline constexpr uint32_t kCacheFileVersion = 1;
inline constexpr size_t kCacheFileHeader = 56;

struct CacheMoment {  // when a file is written or read
  base::Instant now;
  uint64_t wall_s = 0;
  uint64_t boot = 0;  // any number that differs from boot to boot
};

// An encoder for one file; its result is whole after finish().
class CacheFileWriter {
 public:
  explicit CacheFileWriter(const CacheMoment&);
  void add(std::string_view key, const StoredAnswer&);  // failures are left out: they are of no use later
  void add_raw(base::ByteView body) { base::Writer(bytes_).put(body); }  // tests: what no writer writes
  size_t entries() const { return entries_; }
  size_t size() const { return bytes_.size(); }
  base::ByteVec finish();  // heavy: the checksum. Any thread

 private:
  base::Instant begun_;
  base::ByteVec bytes_;
  size_t entries_ = 0;
};

// A file's entries, most recently used first. open() is all or nothing; an entry that makes no sense is skipped by next().
class CacheFileReader {
 public:
  // The error says what is wrong, without a path. `bytes` must outlive the reader.
  static base::Result<CacheFileReader> open(base::ByteView bytes, const CacheMoment&, std::chrono::seconds stale_max);
  struct Entry {
    Question question;
    StoredAnswer answer;
  };
  std::optional<Entry> next();  // nothing: the end
  uint64_t written_s() const { return written_s_; }

 private:
  std::optional<Entry> read(size_t at) const;
  base::ByteView bytes_;
  base::Instant now_;
  std::chrono::seconds stale_max_{}, passed_{};  // since the file was begun
  bool same_boot_ = false;
  uint64_t written_s_ = 0;
  std::vector<uint32_t> at_;  // of the entries not yet read
};

}  // namespace dns
