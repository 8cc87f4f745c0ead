//! Cuts the pages into their blocks of Rust: `feeds/reconnect.rs` is the first below "Reconnect" in
//! feeds.md, and `feeds/reconnect-2.rs` would be the second. Lines that rustdoc hides are left out.
use std::{env, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../..");
    let out = env::var("OUT_DIR")?;
    let mut looping = String::from("const LOOPING: &[&str] = &[\n");
    let recipes = fs::read_dir(root.join("docs/recipes"))?.map(|entry| Ok(entry?.path()));
    let mut pages = recipes.collect::<Result<Vec<_>, std::io::Error>>()?;
    pages.extend(["docs/CHEATSHEET.md", "docs/MIGRATING.md"].map(|page| root.join(page)));
    pages.push(root.join("crates/tickwire-axum/README.md"));
    pages.sort();
    for page in pages {
        println!("cargo::rerun-if-changed={}", page.display());
        let is_axum = page.ends_with("tickwire-axum/README.md");
        let named = if is_axum { Path::new("axum") } else { &page };
        let name = named.file_stem().ok_or("a page without a name")?;
        let name = name.to_string_lossy().to_lowercase();
        fs::create_dir_all(Path::new(&out).join(&name))?;
        for (block, code) in blocks(&fs::read_to_string(&page)?) {
            fs::write(Path::new(&out).join(&name).join(format!("{block}.rs")), &code)?;
            let is_loop = |line: &str| line.contains("loop {") || line.trim().starts_with("while ");
            if code.lines().any(is_loop) {
                writeln!(looping, "    {:?},", format!("{name}/{block}"))?;
            }
        }
    }
    fs::write(Path::new(&out).join("looping.rs"), looping + "];\n")?;
    println!("cargo::rerun-if-changed=../../docs/recipes");
    Ok(())
}

fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut heading = String::from("top");
    let mut nth = 1;
    let mut in_code = false;
    let mut is_rust = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_code = !in_code;
            is_rust = in_code && language.starts_with("rust");
            if is_rust {
                let number = if nth == 1 { String::new() } else { format!("-{nth}") };
                found.push((heading.clone() + &number, String::new()));
                nth += 1;
            }
        } else if is_rust {
            if let Some((_, code)) = found.last_mut().filter(|_| !is_hidden(line)) {
                *code += line;
                *code += "\n";
            }
        } else if line.starts_with('#') && !in_code {
            let kept = |c: &char| c.is_alphanumeric() || "_- ".contains(*c);
            let text = line.trim_start_matches('#').trim().to_lowercase();
            heading = text.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect();
            nth = 1;
        }
    }
    found
}

fn is_hidden(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}
