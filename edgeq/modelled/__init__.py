"""What an artifact costs on a processor that is not here: counted instructions, modelled cycles and bytes."""
