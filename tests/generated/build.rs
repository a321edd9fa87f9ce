//! Generates the code of the files of this crate, and of those of Gorums for Go: as they are, and as proto3.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use gorums_gen::{Builder, configure};

const GO: &str = "../../gorums-gen/tests/go";
/// It is a package that another file is as well.
const ALONE: &str = "importmsgs.proto";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let own = [
        "acme/admin.proto",
        "acme/storage/v1/storage.proto",
        "acme/storage/v1/more.proto",
        "forms/modern.proto",
        "forms/classic.proto",
        "forms/explicit.proto",
        "forms/proto2.proto",
    ];
    compile(Path::new("proto"), &own.map(PathBuf::from), &out.join("own"), |builder| {
        builder.mocks_if("all()")
    })?;

    // The one has the names of the other.
    let (alone, files) =
        files(Path::new(GO))?.into_iter().partition::<Vec<_>, _>(|file| file.ends_with(ALONE));
    compile(Path::new(GO), &alone, &out.join("alone"), |builder| builder)?;
    compile(Path::new(GO), &files, &out.join("go"), |builder| builder)?;
    let proto3 = out.join("proto3");
    for file in &files {
        let target = proto3.join(file);
        fs::create_dir_all(target.parent().unwrap_or(&proto3))?;
        fs::write(target, as_proto3(&fs::read_to_string(Path::new(GO).join(file))?))?;
    }
    compile(&proto3, &files, &out.join("classic"), |builder| builder.emit_rerun_if_changed(false))?;
    Ok(())
}

/// All in one tree of modules, `all.rs`.
fn compile(
    from: &Path,
    files: &[PathBuf],
    out: &Path,
    options: impl FnOnce(Builder) -> Builder,
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(out)?;
    let files: Vec<_> = files.iter().map(|file| from.join(file)).collect();
    // They are about replies that Go's files have where none is sent.
    let builder = options(configure()).out_dir(out).include_file("all.rs").emit_warnings(false);
    Ok(builder.compile_protos(&files, &[from])?)
}

/// The files in a folder, but for the options of gorums.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path.strip_prefix(folder)?.to_owned());
            }
        }
    }
    found.retain(|file| file != Path::new("gorums.proto"));
    found.sort();
    Ok(found)
}

/// A file of an edition without presence, as one would have written it before there were editions.
fn as_proto3(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.starts_with("option features."));
    let lines = lines.map(|line| if line.starts_with("edition") { "syntax = \"proto3\";" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}
