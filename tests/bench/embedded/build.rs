//! Lets the program find the interpreter library it was linked with, and extension modules find the program.

fn main() {
    let config = pyo3_build_config::get();
    if let Some(folder) = &config.lib_dir {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folder}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic");
}
