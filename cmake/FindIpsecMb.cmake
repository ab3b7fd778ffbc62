# Intel's ipsec-mb (libipsec-mb-dev), which exists for x86-64 only. It has no pkg-config file.
find_path(IPSEC_MB_INCLUDE_DIR intel-ipsec-mb.h)
find_library(IPSEC_MB_LIBRARY IPSec_MB)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(IpsecMb REQUIRED_VARS IPSEC_MB_LIBRARY IPSEC_MB_INCLUDE_DIR
  FAIL_MESSAGE "ipsec-mb not found: apt-get install libipsec-mb-dev")
if(IpsecMb_FOUND AND NOT TARGET IpsecMb::ipsec_mb)
  add_library(IpsecMb::ipsec_mb UNKNOWN IMPORTED)
  set_target_properties(IpsecMb::ipsec_mb PROPERTIES IMPORTED_LOCATION ${IPSEC_MB_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${IPSEC_MB_INCLUDE_DIR})
endif()
