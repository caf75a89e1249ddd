use std::io::Read;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = std::fs::read_to_string("in.txt").unwrap();
    std::fs::write("out.txt", format!("{} {}\n", text.trim(), args[0])).unwrap();
    println!("args {}", args.join("|"));
    let mut input = String::new();
    let bytes = std::io::stdin().read_to_string(&mut input).unwrap();
    println!("stdin {bytes}");
    std::process::exit(3);
}
