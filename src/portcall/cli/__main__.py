"""`python -m portcall.cli`: how a detached run starts itself without knowing where the script is."""

from portcall.cli.main import main

if __name__ == "__main__":
    main()
