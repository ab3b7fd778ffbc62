// FrameStream: frames to a file or to a program that listens on a unix socket, in the Frame Streams format (as dnstap, fstrm and knot use
// it: length-prefixed frames between START and STOP; on a socket READY and ACCEPT go before). A thread of its own writes, so that a slow
// disk or reader costs service nothing: what does not fit into the queue is dropped and counted. A reader that goes is dialled again; a
// file that is full is put aside as <file>.1.
#pragma once
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/metrics.h"
#include "base/core/unique_fd.h"

namespace dns {

class FrameStream {
 public:
  struct Options {
    std::string socket, file;  // one of them
    std::string content_type = "protobuf:dnstap.Dnstap";
    size_t queue_bytes_max = 1 << 20, file_bytes_max = 64 << 20;
    std::chrono::milliseconds retry{1000};
  };
  FrameStream(Options, base::Metrics&);
  ~FrameStream();  // what is queued is written, within a second
  void put(base::ByteVec frame);

 private:
  void run();
  bool open();
  bool hand_shake();
  bool write(base::ByteView);
  bool write_frame(base::ByteView);
  void put_aside();
  void finish();
  bool wait_until_ready(short events, std::chrono::milliseconds);
  bool read_control(uint32_t wanted);
  bool pause(std::chrono::milliseconds);  // false: the end has come

  Options options_;
  base::Counter &written_, &dropped_;
  std::mutex mu_;
  std::condition_variable more_;
  std::vector<base::ByteVec> queue_;
  size_t queued_ = 0, file_bytes_ = 0;
  bool end_ = false;
  base::UniqueFd fd_;
  std::thread thread_;
};

}  // namespace dns
