// Messages on a signalling stream: each behind its length. No I/O.
//
//   bytes   field
//   0..3    length of the message, big-endian, <= kMessageBytesMax
//   4..     edgemesh.signal.v1.Message (protobuf)
#pragma once
#include <optional>

#include "base/core/limits.h"
#include "base/core/result.h"
#include "base/net/buffer.h"
#include "tunnel/signal/signal.pb.h"

namespace tunnel {

using Message = edgemesh::signal::v1::Message;

inline constexpr size_t kMessageBytesMax = base::limits::kSignalMessageBytesMax + 1024;  // a frame and its names

// None: larger than the limit.
std::optional<base::ByteVec> frame_message(const Message&);
// Takes the first message out of `in`; none: it is not there as a whole yet. After an error the stream cannot be read on.
base::Result<std::optional<Message>> take_message(base::Buffer& in);

}  // namespace tunnel
