#include "tunnel/signal/message_frame.h"

namespace tunnel {

std::optional<base::ByteVec> frame_message(const Message& m) {
  size_t n = m.ByteSizeLong();
  if (n > kMessageBytesMax) return {};
  base::ByteVec out(4 + n);
  base::store_be32(out.data(), uint32_t(n));
  m.SerializeWithCachedSizesToArray(out.data() + 4);
  return out;
}

base::Result<std::optional<Message>> take_message(base::Buffer& in) {
  base::ByteView b = in.view();
  if (b.size() < 4) return std::nullopt;
  size_t n = base::load_be32(b.data());
  if (n > kMessageBytesMax) return base::fail(base::Code::limit, "a message of {} bytes; at most {}", n, kMessageBytesMax);
  if (b.size() < 4 + n) return std::nullopt;
  Message m;
  if (!m.ParseFromArray(b.data() + 4, int(n))) return base::fail(base::Code::invalid, "a message is malformed");
  in.consume(4 + n);
  return m;
}

}  // namespace tunnel
