// CacheKeeper: the file of an AnswerCache. Read once at start: a first part at once, the rest in steps, so that nothing waits for it.
// Written soon after the first new name and then at most once per `every`; refreshed answers alone are worth a write per `refresh`
// (flash storage wears). Entries are taken in steps between the loop's turns; checksum and disk are a thread's. What a disk that is
// full or read-only costs: base/core/state_disk.h. Lives on the cache's loop.
#pragma once
#include <string>
#include <thread>

#include "base/core/metrics.h"
#include "base/core/state_disk.h"
#include "base/loop/loop.h"
#include "dns/upstream/cache_file.h"

namespace dns {

struct CacheFileOptions {
  std::string path;  // "": nothing is read or written
  base::StateDisk* disk = nullptr;  // needed with a path
  uint64_t boot = 0;
  std::function<uint64_t()> wall_s;
  std::chrono::milliseconds first{2000}, every{5 * 60'000}, refresh{60 * 60'000};
};

class CacheKeeper {
 public:
  CacheKeeper(base::Loop&, AnswerCache&, base::Metrics&, CacheFileOptions, std::chrono::seconds stale_max);
  ~CacheKeeper();  // waits for a write that is under way

  void load();
  void write_now();  // what is pending, before the end; blocks
  void stop();       // another process keeps the file from here on

 private:
  CacheMoment moment() const;
  void load_some();
  void changed(bool is_new);
  void due();
  void take_some();
  void hand_to_thread();
  void written(base::Result<void>);

  base::Loop& loop_;
  AnswerCache& cache_;
  CacheFileOptions options_;
  std::chrono::seconds stale_max_;
  base::Gauge& loaded_;
  base::Counter& failures_;
  std::unique_ptr<base::Timer> timer_;
  base::Instant written_at_{};
  bool ever_written_ = false, pending_ = false, pending_new_ = false, writing_ = false, stopped_ = false;
  std::string file_;  // while it is being read
  std::unique_ptr<CacheFileReader> reader_;
  std::unique_ptr<CacheFileWriter> writer_;
  std::thread thread_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dns
