<?php
echo "hello {$argv[1]} " . count([1, 2]) . "\n";
