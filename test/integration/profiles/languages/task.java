import java.nio.file.Files;
import java.nio.file.Path;

public class Main {
    public static void main(String[] args) throws Exception {
        String text = Files.readString(Path.of("in.txt")).strip();
        Files.writeString(Path.of("out.txt"), text + " " + args[0] + "\n");
        System.out.println("args " + String.join("|", args));
        System.out.println("stdin " + System.in.readAllBytes().length);
        System.exit(3);
    }
}
