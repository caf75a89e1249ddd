import java.util.List;

public class Main {
    public static void main(String[] args) {
        System.out.println("hello " + args[0] + " " + List.of(1, 2).size());
    }
}
