// Sends batches one after another on a thread of its own, so that the next one is made meanwhile. Where no thread can be had, each is
// sent at once by the caller. Control loop only; a sender is used once.
#pragma once
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/net/nft.h"

namespace edgemesh::detail {

class BatchSender {
 public:
  BatchSender() = default;
  ~BatchSender();
  // Returns when at most kWaitingMax wait.
  void send(base::nft::Batch&&);
  // Waits for the last. The first refusal, behind which no batch was sent.
  base::Result<void> finish();

 private:
  static constexpr size_t kWaitingMax = 2;
  void run();
  void send_now(base::nft::Batch&);

  std::mutex mutex_;  // over the next two
  std::deque<base::nft::Batch> waiting_;
  bool closed_ = false;
  std::condition_variable changed_;
  base::Result<void> outcome_;  // the thread's until it ended
  std::thread thread_;
};

}  // namespace edgemesh::detail
