# cmake --install (make install, make deb): programs, unit, tmpfiles, manual pages, and a configuration where there is none.
# The unit and tmpfiles go under the prefix, where systemd looks for /usr and /usr/local alike; the rest is under /etc and /var.
set_target_properties(edgemeshd edgemeshctl PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS edgemeshd edgemeshctl RUNTIME DESTINATION bin)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/systemd/edgemeshd.tmpfiles DESTINATION lib/tmpfiles.d RENAME edgemeshd.conf)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/man/edgemeshd.8 ${CMAKE_SOURCE_DIR}/deploy/man/edgemeshctl.8 DESTINATION share/man/man8)
install(CODE "set(source \"${CMAKE_SOURCE_DIR}/deploy\")")
install(CODE [[
  set(root "$ENV{DESTDIR}")
  configure_file(${source}/systemd/edgemeshd.service.in "${root}${CMAKE_INSTALL_PREFIX}/lib/systemd/system/edgemeshd.service" @ONLY)
  message(STATUS "Installing: ${root}${CMAKE_INSTALL_PREFIX}/lib/systemd/system/edgemeshd.service")
  file(MAKE_DIRECTORY "${root}/etc/edgemeshd/objects" "${root}/etc/edgemeshd/pki")
  file(CHMOD "${root}/etc/edgemeshd/pki" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  if(EXISTS "${root}/etc/edgemeshd/config.yaml")
    message(STATUS "Kept: ${root}/etc/edgemeshd/config.yaml")
  else()
    file(INSTALL ${source}/config.yaml DESTINATION /etc/edgemeshd)  # puts DESTDIR in front itself
  endif()
]])
