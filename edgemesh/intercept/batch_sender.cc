#include "edgemesh/intercept/batch_sender.h"

#include <system_error>

namespace edgemesh::detail {

using base::nft::Batch;

BatchSender::~BatchSender() { (void)finish(); }

void BatchSender::send_now(Batch& b) {
  if (outcome_ && !b.empty()) outcome_ = b.send();
}

void BatchSender::send(Batch&& b) {
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error&) {
      return send_now(b);
    }
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.size() < kWaitingMax; });
  waiting_.push_back(std::move(b));
  changed_.notify_all();
}

void BatchSender::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    Batch b = std::move(waiting_.front());
    waiting_.pop_front();
    changed_.notify_all();
    lock.unlock();
    send_now(b);
  }
}

base::Result<void> BatchSender::finish() {
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
    lock.unlock();
    thread_.join();
  }
  return outcome_;
}

}  // namespace edgemesh::detail
