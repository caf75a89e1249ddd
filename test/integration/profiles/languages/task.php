<?php
file_put_contents("out.txt", trim(file_get_contents("in.txt")) . " {$argv[1]}\n");
echo "args {$argv[1]}|{$argv[2]}\n";
echo "stdin " . strlen(stream_get_contents(STDIN)) . "\n";
exit(3);
