# The CUDA library: src/kernels/cuda compiled by nvcc into libmoe2_cuda.so (-DMOE2_CUDA=ON), and by the C++ compiler against
# kernels/cuda/emulate.h into libmoe2_cuda_emulated.so, which tests run everywhere. Neither is linked to: device_open loads them.
set(MOE2_CUDA_ARCHITECTURES "80;89;90" CACHE STRING "compute capabilities to build for")
file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/cuda/*.cu)
file(GLOB CUDA_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/cuda/*.h ${CMAKE_SOURCE_DIR}/src/kernels/*.h)
set(CUDA_SHARED_SOURCES ${CMAKE_SOURCE_DIR}/src/base/err.c ${CMAKE_SOURCE_DIR}/src/tensor/dtype.c ${CMAKE_SOURCE_DIR}/src/tensor/nf4.c)

if(MOE2_TESTS AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    add_library(moe2_cuda_emulated MODULE ${CUDA_SOURCES} src/kernels/cuda/emulate.cpp src/kernels/cuda/emulate_hopper.cpp
        ${CUDA_SHARED_SOURCES}
        src/kernels/device_memory.c)
    set_source_files_properties(${CUDA_SOURCES} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
    target_link_libraries(moe2_cuda_emulated PRIVATE moe2_flags)
    target_compile_definitions(moe2_cuda_emulated PRIVATE MOE2_EMULATED)
    target_compile_options(moe2_cuda_emulated PRIVATE -O2 -fvisibility=hidden
        $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-unknown-pragmas;-fno-exceptions;-fno-strict-aliasing>)
endif()

if(MOE2_CUDA)
    find_program(NVCC nvcc PATHS /usr/local/cuda/bin REQUIRED)
    get_filename_component(cuda_root ${NVCC} DIRECTORY)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    set(gencode)
    foreach(a ${MOE2_CUDA_ARCHITECTURES})
        list(APPEND gencode -gencode arch=compute_${a},code=sm_${a})
    endforeach()
    set(hopper_gencode -gencode arch=compute_90a,code=sm_90a) # of files with instructions that no other card has
    set(objects)
    foreach(source ${CUDA_SOURCES})
        get_filename_component(name ${source} NAME_WE)
        set(code ${gencode})
        if(name MATCHES "_hopper$")
            set(code ${hopper_gencode})
        endif()
        set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
        add_custom_command(OUTPUT ${object} DEPENDS ${source} ${CUDA_HEADERS}
            COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
            COMMAND ${NVCC} -O3 -std=c++17 ${code} -lineinfo -Xcompiler -fPIC,-fvisibility=hidden,-Wall -I${CMAKE_SOURCE_DIR}/src
                -I${CMAKE_SOURCE_DIR}/include -c ${source} -o ${object}
            COMMENT "nvcc ${name}.cu" VERBATIM)
        list(APPEND objects ${object})
    endforeach()
    add_library(moe2_cuda MODULE ${objects} ${CUDA_SHARED_SOURCES} src/kernels/device_memory.c)
    set_target_properties(moe2_cuda PROPERTIES LINKER_LANGUAGE CXX)
    target_compile_options(moe2_cuda PRIVATE -fvisibility=hidden)
    target_link_libraries(moe2_cuda PRIVATE moe2_flags ${cuda_root}/lib64/libcudart_static.a ${CMAKE_DL_LIBS} rt pthread)
    message(STATUS "CUDA library: ${NVCC}, compute capabilities ${MOE2_CUDA_ARCHITECTURES}")
endif()
