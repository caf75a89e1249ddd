fn main() {
    let name = std::env::args().nth(1).unwrap();
    println!("hello {} {}", name, vec![1, 2].len());
}
