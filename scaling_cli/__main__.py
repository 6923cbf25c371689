from scaling_cli.cli import main

main()
