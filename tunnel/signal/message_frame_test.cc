#include "tunnel/signal/message_frame.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

Message frame_with(size_t payload) {
  Message m;
  m.mutable_frame()->set_from("a");
  m.mutable_frame()->set_payload(std::string(payload, 'x'));
  return m;
}

TEST(MessageFrame, MessagesComeOutAsTheyWentInHoweverTheyArrive) {
  base::ByteVec wire;
  for (size_t n : {0, 1, 1000, 60'000}) {
    auto one = frame_message(frame_with(n)).value();
    wire.insert(wire.end(), one.begin(), one.end());
  }
  for (size_t step : {size_t(1), size_t(7), wire.size()}) {
    base::Buffer in;
    std::vector<size_t> sizes;
    for (size_t at = 0; at < wire.size(); at += step) {
      in.append(base::ByteView(wire).subspan(at, std::min(step, wire.size() - at)));
      for (;;) {
        auto m = take_message(in).value();
        if (!m) break;
        sizes.push_back(m->frame().payload().size());
      }
    }
    EXPECT_EQ(sizes, (std::vector<size_t>{0, 1, 1000, 60'000})) << step;
    EXPECT_TRUE(in.empty());
  }
}

TEST(MessageFrame, ALengthBeyondTheLimitIsRefusedBeforeItsBytesCome) {
  EXPECT_FALSE(frame_message(frame_with(kMessageBytesMax)));
  base::Buffer in;
  uint8_t length[4];
  base::store_be32(length, uint32_t(kMessageBytesMax + 1));
  in.append(length);
  EXPECT_EQ(take_message(in).error().code, base::Code::limit);
}

TEST(MessageFrame, WhatIsNoMessageIsAnError) {
  base::Buffer in;
  in.append(base::as_bytes(std::string_view("\0\0\0\2\x0a\x05", 6)));  // a field longer than the message
  EXPECT_EQ(take_message(in).error().code, base::Code::invalid);
}

}  // namespace
}  // namespace tunnel
