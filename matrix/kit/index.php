<?php
// What PHP's servers run: its version, who asks, an echo.
header('Content-Type: text/plain');
$path = strtok($_SERVER['REQUEST_URI'], '?');
if ($path === '/') {
    echo 'version ' . getenv('VERSION') . "\n";
} elseif ($path === '/peer') {
    echo $_SERVER['REMOTE_ADDR'] . ' ' . $_SERVER['REMOTE_PORT'] . ' ' . $_SERVER['SERVER_PORT'] . "\n";
} elseif ($path === '/echo') {
    echo file_get_contents('php://input');
} else {
    http_response_code(404);
    echo "missing\n";
}
