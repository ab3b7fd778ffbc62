// Certificates come from peers before anything about them is known.
#include "base/net/x509.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::ByteView bytes(data, size);
  (void)base::parse_certificate(bytes);
  (void)base::parse_node_identity(bytes, "");
  (void)base::parse_certificate_pem(base::as_text(bytes), "fuzz");
  return 0;
}
