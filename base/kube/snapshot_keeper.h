// SnapshotKeeper: stands between a source and the table builder. Before the source speaks, the objects of the last run's snapshot
// file may be served; what the source lists then replaces them kind by kind, as a whole. Once the source has listed everything, the
// file follows its changes: written at most once per `every` and only when the content differs, by a thread of its own, since
// storage may be slow. What a disk that is full or read-only costs: base/core/state_disk.h. Control loop only.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/state_disk.h"
#include "base/kube/snapshot.h"
#include "base/kube/table_builder.h"
#include "base/loop/loop.h"

namespace base::kube {

class SnapshotKeeper : public ObjectSink {
 public:
  struct Options {
    std::string path;                                // "": nothing is read or written
    Duration every = std::chrono::seconds(5);
    std::function<uint64_t()> now_s;                 // wall clock, for people
    std::function<std::vector<ObjectName>()> in_use; // asked at each write; may be empty
    StateDisk* disk = nullptr;                       // needed with a path
  };
  SnapshotKeeper(Loop&, TableBuilder& next, Metrics&, Options);
  ~SnapshotKeeper() override;                        // waits for a file that is being written

  // Gives the builder what the file holds and calls it complete: true when there was something. Before the source is started.
  bool load();
  bool load(std::string_view bytes, const std::string& where);  // the same from a predecessor's memory
  std::vector<ObjectName> in_use_then() const { return in_use_then_; }  // of what was loaded
  std::string bytes_now() const;                     // for a successor
  void touch();                                      // in_use changed
  void write_now();                                  // what is pending, before the end; blocks

  bool source_reached() const { return source_reached_; }
  bool loaded() const { return !loaded_from_.empty(); }
  std::vector<std::string> problems() const;

  void replace(Kind, std::vector<PackedObject>) override;
  void upsert(PackedObject) override;
  void remove(Kind, const ObjectName&) override;
  void synced(Kind) override;
  void error(const std::string& line) override { next_.error(line); }

 private:
  Snapshot take() const;
  void write();
  void written(Result<void>, uint64_t content);
  void end_writer();

  // One write by the thread. It runs when nobody else wants the processor, which on a busy machine may be in minutes: until the file
  // itself is begun it can be dropped, and is then nobody's any more.
  class Writing {
   public:
    bool begin() { return move_to(Phase::writing); }  // by the thread
    bool drop() { return move_to(Phase::dropped); }

   private:
    enum class Phase { preparing, writing, dropped };
    bool move_to(Phase next) {
      Phase now = Phase::preparing;
      return phase_.compare_exchange_strong(now, next);
    }
    std::atomic<Phase> phase_{Phase::preparing};
  };

  Loop& loop_;
  TableBuilder& next_;
  Options options_;
  Counter& failures_;
  std::unique_ptr<Timer> timer_;
  std::thread writer_;
  std::shared_ptr<Writing> under_way_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<ObjectName> in_use_then_;
  std::string loaded_from_;
  uint64_t on_disk_ = 0;                             // content of the file, as far as we know
  bool synced_[kKinds] = {}, source_reached_ = false, writing_ = false, changed_ = false;
};

}  // namespace base::kube
